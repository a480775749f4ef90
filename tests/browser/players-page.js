// What players.mjs has in its page: each player behind the same few words, and a note of all that goes wrong in it.

const video = document.querySelector("video");

/** What players said that they should not have to say, and where playing had to wait at a gap. */
window.troubles = [];
window.waits = [];
video.addEventListener("error", () => window.troubles.push(`the browser: ${video.error.message}`));
video.addEventListener("waiting", () => {
  // A busy machine is late with decoding what is there, and with bytes that nothing follows. Only the files explain a gap.
  const at = video.currentTime;
  const isAtGap = !ranges().some(([from, to]) => from <= at && at + 0.3 < to) && ranges().some(([from]) => from > at);
  if (!video.seeking && isAtGap) window.waits.push(`at ${at} s with ${ranges().map(([from, to]) => `${from}–${to}`)} in its buffer`);
});

// Less than the whole of these short videos, so that what comes after a switch has to be asked for.
const AHEAD_S = 4;

// Each begins to load `url` and resolves to what it offers: the heights there are, which one it has taken, a way to take
// another, and what it had to mend.
const players = {
  async "hls.js"(url) {
    const hls = new Hls({ maxBufferLength: AHEAD_S, maxMaxBufferLength: AHEAD_S });
    hls.on(Hls.Events.ERROR, (_, { fatal, details, error }) => {
      // That playing waits is judged above, and requests are given up for a seek; a hole is another error.
      const { BUFFER_STALLED_ERROR, INTERNAL_ABORTED } = Hls.ErrorDetails;
      if (!fatal && [BUFFER_STALLED_ERROR, INTERNAL_ABORTED].includes(details)) return;
      window.troubles.push(`${details}${fatal ? ", fatal" : ""}: ${error?.message}`);
    });
    const parsed = new Promise((resolve) => hls.once(Hls.Events.MANIFEST_PARSED, resolve));
    hls.loadSource(url);
    hls.attachMedia(video);
    await parsed;
    const heights = () => hls.levels.map((level) => level.height);
    return {
      version: Hls.version,
      heights,
      chosen: () => hls.levels[hls.currentLevel]?.height,
      choose: (height) => { hls.nextLevel = heights().indexOf(height); },
      mended: () => [],
    };
  },

  async Shaka(url) {
    const player = new shaka.Player();
    const note = (event) => window.troubles.push(`${event.type}: ${JSON.stringify(event.detail)}`);
    player.addEventListener("error", note);
    await player.attach(video);
    player.configure({ streaming: { bufferingGoal: AHEAD_S } });
    await player.load(url);
    const tracks = () => player.getVariantTracks();
    return {
      version: shaka.Player.version,
      heights: () => tracks().map((track) => track.height),
      chosen: () => tracks().find((track) => track.active)?.height,
      choose: (height) => {
        player.configure("abr.enabled", false);
        // What is in the buffer is played: with it cleared, Shaka was once seen to stop here on a busy machine.
        player.selectVariantTrack(tracks().find((track) => track.height === height));
      },
      mended: () => {
        const { gapsJumped, nonFatalErrorCount } = player.getStats();
        return [gapsJumped && `${gapsJumped} gaps`, nonFatalErrorCount && `${nonFatalErrorCount} errors`].filter(Boolean);
      },
    };
  },

  async "dash.js"(url) {
    const player = dashjs.MediaPlayer().create();
    const { events } = dashjs.MediaPlayer;
    for (const name of [events.ERROR, events.PLAYBACK_ERROR]) {
      player.on(name, ({ error }) => window.troubles.push(`${name}: ${error?.code} ${error?.message}`));
    }
    player.updateSettings({ streaming: { buffer: { bufferTimeDefault: AHEAD_S, bufferTimeAtTopQuality: AHEAD_S } } });
    const ready = new Promise((resolve) => player.on(events.STREAM_INITIALIZED, resolve));
    player.initialize(video, url, false);
    await ready;
    const offered = () => player.getRepresentationsByType("video");
    return {
      version: player.getVersion(),
      heights: () => offered().map(({ height }) => height),
      chosen: () => player.getCurrentRepresentationForType("video")?.height,
      choose: (height) => {
        player.updateSettings({ streaming: { abr: { autoSwitchBitrate: { video: false } } } });
        player.setRepresentationForTypeById("video", offered().find((one) => one.height === height).id);
      },
      mended: () => [],
    };
  },

  async "<video>"(url) {
    const loaded = new Promise((resolve) => video.addEventListener("loadedmetadata", resolve, { once: true }));
    video.src = url;
    await loaded;
    return { version: navigator.userAgent.match(/Chrom\w+\/[\d.]+/)[0], heights: () => [], chosen: () => undefined, choose: () => {}, mended: () => [] };
  },
};

function ranges() {
  return Array.from({ length: video.buffered.length }, (_, index) => [video.buffered.start(index), video.buffered.end(index)]);
}

window.load = async (player, url) => {
  window.player = await players[player](url);
  return { version: window.player.version, heights: window.player.heights() };
};

/** Where it stands. */
window.look = () => ({
  at: video.currentTime,
  duration: video.duration,
  height: video.videoHeight,
  chosen: window.player.chosen(),
  hasEnded: video.ended,
  hasPicture: video.readyState >= 2 && !video.seeking,
  buffered: ranges(),
  decoded: { video: video.webkitVideoDecodedByteCount, audio: video.webkitAudioDecodedByteCount },
  mended: window.player.mended(),
});
