-- Nobody reads of videos that were added from the outbox: programs are told by the feed.
DELETE FROM outbox WHERE topic = 'video-added';
