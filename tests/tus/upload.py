"""Uploads a file with tuspy as it is: upload.py URL FILE with-checksums|without-checksums

It goes on after whatever breaks, as its documentation says: with retries of its own, and with the URL that it has."""

import sys

from tusclient import client
from tusclient.exceptions import TusCommunicationError

url, path, checksums = sys.argv[1:]
tus = client.TusClient(url)


def uploader(known=None):
    while True:
        try:
            return tus.uploader(
                file_path=path,
                url=known,
                chunk_size=3 * 1024 * 1024,
                retries=100,
                retry_delay=0,
                metadata={"filename": "by tuspy.mp4"},
                upload_checksum=checksums == "with-checksums",
            )
        except (TusCommunicationError, OSError):
            continue


upload = uploader()
while True:
    try:
        upload.upload()
        break
    except (TusCommunicationError, OSError):
        upload = uploader(upload.url)
