// Plays what workers have published of a video: HLS by hls.js, or by the browser itself where it has no Media Source
// Extensions, with a choice of qualities, small pictures of where one would go, and the addresses for other players.

import { at, element } from "/assets/words.js";

const HLS = "/assets/hls-1.7.4.min.js";
const NATIVE = "application/vnd.apple.mpegurl";

let loading = null;

/** Only those who play something published pay for it. */
function loadHls() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = HLS;
    script.addEventListener("load", () => resolve(window.Hls));
    script.addEventListener("error", () => {
      loading = null;
      reject(new Error("the gateway did not answer"));
    });
    document.head.append(script);
  });
  return loading;
}

/** Has `video` play it, and returns what ends that. `onFailure` hears in words of what cannot be mended. */
export function play(video, playback, onFailure) {
  const ending = new AbortController();
  if (playback.poster) video.poster = playback.poster;
  showLinks(playback);
  if (playback.storyboard) showPictures(video, playback.storyboard, ending.signal);
  let hls = null;
  const begin = async () => {
    const Hls = playback.hls && window.MediaSource ? await loadHls() : null;
    if (ending.signal.aborted) return;
    if (!Hls?.isSupported()) {
      video.src = playback.hls && video.canPlayType(NATIVE) ? playback.hls : playback.mp4 ?? playback.hls;
      return;
    }
    // Segments are fragmented MP4, which needs no work that would be worth a thread of its own.
    hls = new Hls({ enableWorker: false });
    hls.on(Hls.Events.MANIFEST_PARSED, () => showQualities(hls, Hls));
    let mended = 0;
    hls.on(Hls.Events.ERROR, (_, { fatal, type, details }) => {
      if (!fatal) return;
      mended += 1;
      if (type === Hls.ErrorTypes.MEDIA_ERROR && mended < 3) hls.recoverMediaError();
      else onFailure(`It stopped playing (${details}). If it was processed again meanwhile, open it once more.`);
    });
    hls.loadSource(playback.hls);
    hls.attachMedia(video);
  };
  begin().catch((error) => onFailure(`The player could not be loaded: ${error.message}.`));
  return () => {
    ending.abort();
    hls?.destroy();
    for (const id of ["qualities", "picture"]) at(id).hidden = true;
    at("links").replaceChildren();
  };
}

function showLinks(playback) {
  const kinds = [["hls", "HLS"], ["dash", "DASH"], ["mp4", "MP4"]];
  at("links").replaceChildren(...kinds.filter(([kind]) => playback[kind]).map(([kind, name]) => {
    const link = element("a", name);
    link.href = playback[kind];
    link.dataset.testid = `link-${kind}`;
    return link;
  }));
}

function showQualities(hls, Hls) {
  const choice = at("quality");
  const levels = hls.levels.map((level, index) => [index, `${level.height} lines, ${(level.bitrate / 1e6).toFixed(1)} Mbit/s`]);
  choice.replaceChildren(new Option("Automatic", -1), ...levels.reverse().map(([index, name]) => new Option(name, index)));
  choice.onchange = () => {
    hls.nextLevel = Number(choice.value);
  };
  hls.on(Hls.Events.LEVEL_SWITCHED, (_, { level }) => {
    choice.options[0].textContent = hls.autoLevelEnabled ? `Automatic (${hls.levels[level].height})` : "Automatic";
  });
  at("qualities").hidden = levels.length < 2;
}

// === The storyboard ===

/** Shows the picture of the time under the pointer, and seeks to it. */
async function showPictures(video, url, signal) {
  const response = await fetch(url, { signal }).catch(() => null);
  if (!response?.ok) return;
  const pictures = picturesOf(await response.text(), new URL(url, location.href));
  if (signal.aborted || pictures.length === 0) return;
  const bar = at("buffered");
  const timeAt = (event) => {
    const { left, width } = bar.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - left) / width, 0), 1) * video.duration;
  };
  const show = (event) => {
    const time = timeAt(event);
    const found = pictures.find(({ from, to }) => time >= from && time < to);
    at("picture").hidden = !found;
    if (!found) return;
    const [x, y, width, height] = found.area;
    const { left, width: length } = at("position").getBoundingClientRect();
    const place = Math.min(Math.max(event.clientX - left - width / 2, 0), Math.max(length - width, 0));
    Object.assign(at("picture").style, {
      width: `${width}px`, height: `${height}px`, left: `${place}px`,
      backgroundImage: `url("${found.image}")`, backgroundPosition: `-${x}px -${y}px`,
    });
  };
  bar.addEventListener("pointermove", show, { signal });
  bar.addEventListener("pointerleave", () => { at("picture").hidden = true; }, { signal });
  bar.addEventListener("click", (event) => { if (video.duration > 0) video.currentTime = timeAt(event); }, { signal });
}

/** The cues of a WebVTT file whose texts are images with `#xywh=` (Media Fragments §4.2.2). */
function picturesOf(text, base) {
  const seconds = (time) => time.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  return text.split(/\r?\n\r?\n/).flatMap((cue) => {
    const [, from, to, name] = /([\d:.]+) --> ([\d:.]+)[^\n]*\n(\S+)/.exec(cue) ?? [];
    const image = name && new URL(name, base);
    const area = image && /xywh=(?:pixel:)?(\d+),(\d+),(\d+),(\d+)/.exec(image.hash);
    if (!area) return [];
    image.hash = "";
    return [{ from: seconds(from), to: seconds(to), image: image.href, area: area.slice(1).map(Number) }];
  });
}
