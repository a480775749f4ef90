//! Playlists and the manifest over them.

use std::{fs, io::Cursor, time::Duration};

use mp4_atom::{Any, Decode as _};

use super::{AAC, CMAF, Error, Folder, Kind, Options, Playlist, X264, package, value};

const FRAMES: &str = "-count_packets -show_entries stream=nb_read_packets";

/// draft-pantos-hls-rfc8216bis §4.1 from the text of a playlist alone: every set of neighbours, its bits over its seconds.
fn peak(playlist: &Playlist) -> f64 {
    let (mut peak, target) = (0_f64, playlist.target());
    for first in 0..playlist.lines.len() {
        for last in first..playlist.lines.len() {
            let set = &playlist.lines[first..=last];
            let seconds: f64 = set.iter().map(|line| line.0).sum();
            let bytes: u64 = set.iter().map(|line| line.1.end - line.1.start).sum();
            if seconds >= target * 0.5 && seconds <= target * 1.5 {
                peak = peak.max(f64::from(u32::try_from(bytes * 8).unwrap()) / seconds);
            }
        }
    }
    peak
}

/// The names of the boxes that bytes consist of, by mp4-atom.
fn kinds(bytes: &[u8]) -> String {
    let (mut cursor, mut kinds) = (Cursor::new(bytes), Vec::new());
    while cursor.position() < bytes.len() as u64 {
        kinds.push(Any::decode(&mut cursor).unwrap().kind().to_string());
    }
    kinds.join(" ")
}

#[track_caller]
fn same(number: &str, expected: f64) {
    let number: f64 = number.parse().unwrap();
    assert!((number - expected).abs() <= 2.0, "{number} for {expected}");
}

#[test]
fn playlists_name_whole_fragments_at_the_same_times_in_all_renditions() {
    for (rate, frames, group) in [("25", "250", 4.0), ("30000/1001", "300", 4.004)] {
        let folder = Folder::new();
        let tracks = folder.ladder(rate);
        let packaged = folder.package(&tracks);
        let cut = |name: &str| folder.playlist(name).lines.iter().map(|line| line.0).collect::<Vec<_>>();
        assert_eq!(cut("v180.m3u8"), cut("v90.m3u8"));
        assert_eq!(cut("v180.m3u8"), cut("v64.m3u8"));
        assert_eq!(cut("v180.m3u8"), [group, group, group / 2.0]);
        assert_eq!(packaged.duration, Duration::from_micros(10_021_333), "the audio's, which is longest");

        let mpd = folder.text("manifest.mpd");
        for track in &tracks {
            let bytes = fs::read(folder.path(&track.file)).unwrap();
            let representation = mpd.split_once(&format!("<BaseURL>{}</BaseURL>", track.file)).unwrap().1;
            for (attribute, names) in [(" range=", "ftyp moov"), ("indexRange=", "sidx")] {
                let (first, last) = value(representation, attribute).split_once('-').unwrap();
                let bytes = &bytes[first.parse().unwrap()..=last.parse().unwrap()];
                assert_eq!(kinds(bytes), names, "{attribute} of {}", track.id);
            }
            let mut names = vec![format!("{}.m3u8", track.id)];
            names.extend((track.kind() == Kind::Video).then(|| format!("{}_iframes.m3u8", track.id)));
            for name in &names {
                let playlist = folder.playlist(name);
                for tag in [
                    "#EXTM3U\n#EXT-X-VERSION:7\n",
                    "#EXT-X-PLAYLIST-TYPE:VOD\n",
                    "#EXT-X-INDEPENDENT-SEGMENTS\n",
                ] {
                    assert!(playlist.text.contains(tag), "{tag} in {name}");
                }
                assert!(playlist.text.ends_with("\n#EXT-X-ENDLIST\n"));
                assert!(playlist.lines.iter().all(|line| line.0.round() <= playlist.target()));
                let micros = Duration::from_secs_f64(playlist.duration()).as_micros();
                let exact = u128::from(track.duration) * 1_000_000 / u128::from(track.timescale);
                assert!(micros.abs_diff(exact) <= 1, "{micros} for {exact}");

                let slice = |range: &std::ops::Range<u64>| {
                    kinds(&bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()])
                };
                assert_eq!(slice(&playlist.map), "ftyp moov");
                for (_, range) in &playlist.lines {
                    assert!(
                        slice(range)
                            .split(' ')
                            .collect::<Vec<_>>()
                            .chunks(2)
                            .all(|pair| pair == ["moof", "mdat"])
                    );
                }
            }
            let playlist = folder.playlist(&names[0]);
            assert_eq!(playlist.lines[0].1.start, track.index.end);
            assert!(playlist.lines.windows(2).all(|pair| pair[0].1.end == pair[1].1.start));
            assert_eq!(playlist.lines.last().unwrap().1.end, bytes.len() as u64);
        }

        assert!(folder.text("v180_iframes.m3u8").contains("#EXT-X-I-FRAMES-ONLY\n"));
        assert_eq!(folder.probe("-show_entries frame=pict_type", "v180_iframes.m3u8"), ["I"; 5]);
        // What ffmpeg plays of each: twice, as the program's and as the file's.
        for name in ["v180.m3u8", "v64.m3u8"] {
            assert_eq!(folder.probe("-count_frames -show_entries stream=nb_read_frames", name), [frames; 2]);
        }
        for manifest in ["master.m3u8", "manifest.mpd"] {
            // One after the other: ffprobe ends when the first of several does.
            let sounds = tracks[3].frames.to_string();
            for (stream, frames) in [("v:0", frames), ("v:1", frames), ("v:2", frames), ("a:0", &sounds)] {
                let played = folder.probe(&format!("-select_streams {stream} {FRAMES}"), manifest);
                assert_eq!(played.last().unwrap(), frames, "{stream} of {manifest}");
            }
            folder.ffmpeg(&format!("-xerror -i {manifest} -map 0 -f null -"));
        }
    }
}

#[test]
fn a_master_says_what_was_measured() {
    let folder = Folder::new();
    let packaged = folder.package(&folder.ladder("30000/1001"));
    let (master, audio) = (folder.text("master.m3u8"), folder.playlist("a0.m3u8"));
    let variants: Vec<&str> = master.split("#EXT-X-STREAM-INF:").skip(1).collect();
    for (variant, (id, resolution)) in
        variants.iter().zip([("v180", "320x180"), ("v90", "160x90"), ("v64", "114x64")])
    {
        let playlist = folder.playlist(&format!("{id}.m3u8"));
        assert_eq!(variant.lines().nth(1).unwrap(), format!("{id}.m3u8"));
        same(value(variant, "BANDWIDTH="), peak(&playlist) + peak(&audio));
        assert_eq!(value(variant, "RESOLUTION="), resolution);
        assert_eq!(value(variant, "FRAME-RATE="), "29.970");
        assert_eq!(value(variant, "VIDEO-RANGE="), "SDR");
        assert_eq!(value(variant, "AUDIO="), "audio");
        assert!(value(variant, "CODECS=").starts_with("avc1.6400") && variant.contains(",mp4a.40.2\""));
        let bytes = |playlist: &Playlist| playlist.lines.last().unwrap().1.end - playlist.lines[0].1.start;
        let average = |playlist: &Playlist| {
            f64::from(u32::try_from(bytes(playlist) * 8).unwrap()) / playlist.duration()
        };
        same(value(variant, "AVERAGE-BANDWIDTH="), average(&playlist) + average(&audio));
    }
    assert_eq!(variants.len(), 3);
    assert!(master.contains(
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"a0.m3u8\"\n"
    ));
    for id in ["v180", "v90", "v64"] {
        let line = master.lines().find(|line| line.contains(&format!("URI=\"{id}_iframes.m3u8\""))).unwrap();
        same(value(line, "BANDWIDTH="), peak(&folder.playlist(&format!("{id}_iframes.m3u8"))));
    }
    same(&packaged.rates[3].peak.to_string(), peak(&audio));

    let mpd = folder.text("manifest.mpd");
    same(value(mpd.split_once("id=\"a0\"").unwrap().1, "bandwidth="), peak(&audio));
    for part in [
        "mediaPresentationDuration=\"PT10.021333S\"",
        "profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\"",
        "maxWidth=\"320\" maxHeight=\"180\"",
        "width=\"114\" height=\"64\" sar=\"1:1\" frameRate=\"30000/1001\"",
        "audioSamplingRate=\"48000\"",
        "audio_channel_configuration:2011\" value=\"2\"",
    ] {
        assert!(mpd.contains(part), "{part} in {mpd}");
    }
}

#[test]
fn sound_alone_and_pictures_alone_are_offered_as_they_are() {
    let folder = Folder::new();
    folder.audio("a0", 5, "-ac 1 -metadata:s:a:0 language=fra");
    let audio = folder.assembled("a0", Kind::Audio);
    folder.package(std::slice::from_ref(&audio));
    let (master, mpd) = (folder.text("master.m3u8"), folder.text("manifest.mpd"));
    assert_eq!(value(&master, "CODECS="), "mp4a.40.2");
    assert!(
        !master.contains("EXT-X-MEDIA") && !master.contains("AUDIO=") && !master.contains("RESOLUTION"),
        "{master}"
    );
    assert!(mpd.contains("value=\"1\"") && mpd.contains("lang=\"fra\"") && !mpd.contains("video"), "{mpd}");
    for manifest in ["master.m3u8", "manifest.mpd"] {
        assert_eq!(folder.probe(FRAMES, manifest).last().unwrap(), &audio.frames.to_string());
    }

    folder.video("v90", "size=160x90:rate=25:duration=5", &format!("{X264} {CMAF}"));
    let video = folder.assembled("v90", Kind::Video);
    folder.package(std::slice::from_ref(&video));
    let (master, mpd) = (folder.text("master.m3u8"), folder.text("manifest.mpd"));
    assert!(!master.contains("AUDIO") && !master.contains("mp4a") && !mpd.contains("audio"), "{master}{mpd}");
    for manifest in ["master.m3u8", "manifest.mpd"] {
        assert_eq!(folder.probe(FRAMES, manifest).last().unwrap(), "125");
    }

    folder.package(&[video, audio]);
    assert!(folder.text("master.m3u8").contains("NAME=\"fra\",LANGUAGE=\"fra\",DEFAULT=YES"));
    assert!(matches!(package(&[], &Options::default(), &folder.path("")), Err(Error::NoTracks)));
}

#[test]
fn renditions_that_cannot_be_switched_between_are_refused() {
    let folder = Folder::new();
    folder.video("v90", "size=160x90:rate=25:duration=4", &format!("{X264} {CMAF}"));
    folder.video("dense", "size=160x90:rate=25:duration=4", &format!("{X264} -g 25 {CMAF}"));
    folder.video(
        "late",
        "size=160x90:rate=30:duration=4.5",
        &format!("{X264} -force_key_frames 2.1,3 {CMAF}"),
    );
    let video = folder.assembled("v90", Kind::Video);
    for (id, problem) in [("dense", "has 4 segments where"), ("late", "has 3 segments where")] {
        let error = package(
            &[video.clone(), folder.assembled(id, Kind::Video)],
            &Options::default(),
            &folder.path(""),
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains(id), "{error}");
    }
    let mut other = video.clone();
    other.segments[1].start += 1;
    assert!(
        package(&[video.clone(), video.clone()], &Options::default(), &folder.path("")).is_err(),
        "one id, one file"
    );
    (other.id, other.file) = ("x".to_owned(), "x.mp4".to_owned());
    let error = package(&[video, other], &Options::default(), &folder.path("")).unwrap_err().to_string();
    assert!(error.contains("has a key frame at 2000078 µs where \"v90\" has one at 2000000 µs"), "{error}");
}

#[test]
fn codecs_are_named_as_players_know_them() {
    let folder = Folder::new();
    let hevc = format!("-c:v libx265 -x265-params log-level=none:open-gop=0 -tag:v hvc1 -f mp4 {CMAF}");
    folder.video("hevc", "size=160x90:rate=25:duration=1", &hevc);
    folder.video(
        "ten",
        "size=160x90:rate=25:duration=1",
        &format!(
            "-pix_fmt yuv420p10le -color_trc smpte2084 -color_primaries bt2020 -colorspace bt2020nc {hevc}"
        ),
    );
    folder.video(
        "av1",
        "size=160x90:rate=25:duration=1",
        &format!("-c:v libaom-av1 -cpu-used 8 -f mp4 {CMAF}+delay_moov"),
    );
    folder.video("wide", "size=160x90:rate=25:duration=1,setsar=4/3", &format!("{X264} {CMAF}"));
    folder.ffmpeg("-f lavfi -i sine=d=1:r=48000 -c:a libopus -f mp4 -movflags +cmaf+delay_moov in/opus.mp4");
    folder.ffmpeg(&format!("-f lavfi -i sine=d=1:r=96000 {AAC} -ar 96000 in/a96.mp4"));
    folder.audio("six", 1, "-ac 6");
    let six = folder.assembled("six", Kind::Audio).format;
    assert_eq!(six, super::super::Format::Audio { sample_rate: 48_000, channels: 6 });
    for (id, kind, codecs) in [
        ("hevc", Kind::Video, "hvc1.1.6.L30.90"),
        ("ten", Kind::Video, "hvc1.2.4.L30.90"),
        ("av1", Kind::Video, "av01.0.00M.08"),
        ("wide", Kind::Video, "avc1.64001e"),
        ("opus", Kind::Audio, "Opus"),
        ("a96", Kind::Audio, "mp4a.40.2"),
    ] {
        assert_eq!(folder.assembled(id, kind).codecs, codecs, "{id}");
    }
    let master = |id: &str| {
        let track =
            super::Track { id: "again".to_owned(), ..folder.assemble("again", Kind::Video, &[id]).unwrap() };
        fs::remove_file(folder.path("again.mp4")).unwrap();
        folder.package(&[track]);
        folder.text("master.m3u8")
    };
    assert_eq!(value(&master("wide"), "RESOLUTION="), "213x90");
    assert!(folder.text("manifest.mpd").contains("width=\"160\" height=\"90\" sar=\"4:3\""));
    assert_eq!(value(&master("ten"), "VIDEO-RANGE="), "PQ");
}
