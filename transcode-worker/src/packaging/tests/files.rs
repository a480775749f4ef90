//! Assembled files.

use std::{collections::BTreeSet, fs, io::Cursor, time::Duration};

use mp4_atom::{Any, Decode as _, Sidx};

use super::{CMAF, Error, Folder, Kind, Source, Track, X264, assemble};

/// The boxes of a file with where each starts, by mp4-atom.
fn atoms(bytes: &[u8]) -> Vec<(u64, Any)> {
    let (mut cursor, mut atoms) = (Cursor::new(bytes), Vec::new());
    while cursor.position() < bytes.len() as u64 {
        atoms.push((cursor.position(), Any::decode(&mut cursor).unwrap()));
    }
    atoms
}

fn sidx(atoms: &[(u64, Any)]) -> (u64, &Sidx) {
    match &atoms[2] {
        (at, Any::Sidx(sidx)) => (*at, sidx),
        other => panic!("{other:?}"),
    }
}

/// Holds the track against its file, as another parser reads that.
fn check(folder: &Folder, track: &Track) {
    let bytes = fs::read(folder.path(&track.file)).unwrap();
    let atoms = atoms(&bytes);
    let (_, Any::Moov(movie)) = &atoms[1] else { panic!("{:?}", atoms[1]) };
    assert!(matches!(atoms[0].1, Any::Ftyp(_)));
    let milliseconds = (track.start + track.duration) * 1000;
    let mehd = movie.mvex.as_ref().unwrap().mehd.as_ref().unwrap();
    assert_eq!(mehd.fragment_duration, milliseconds.div_ceil(track.timescale.into()));
    assert_eq!((movie.mvhd.duration, movie.trak[0].tkhd.duration), (0, 0));

    let (at, sidx) = sidx(&atoms);
    assert_eq!((track.init.clone(), track.index.clone()), (0..at, at..atoms[3].0));
    assert_eq!((sidx.timescale, sidx.earliest_presentation_time), (track.timescale, track.start));
    assert_eq!((sidx.first_offset, sidx.reference_id), (0, movie.trak[0].tkhd.track_id));
    assert!(
        sidx.references.iter().all(|one| one.starts_with_sap && one.sap_type == 1 && !one.reference_type)
    );
    let sizes: u64 = sidx.references.iter().map(|one| u64::from(one.referenced_size)).sum();
    assert_eq!(sizes, bytes.len() as u64 - track.index.end);
    let ticks: u64 = sidx.references.iter().map(|one| u64::from(one.subsegment_duration)).sum();
    assert_eq!(ticks, track.duration);

    let (mut frames, mut next_time, mut moofs) = (0, None, BTreeSet::new());
    for (number, pair) in atoms[3..].chunks(2).enumerate() {
        let [(at, Any::Moof(moof)), (data_at, Any::Mdat(mdat))] = pair else { panic!("{pair:?}") };
        assert_eq!(usize::try_from(moof.mfhd.sequence_number).unwrap(), number + 1);
        let (traf, trun) = (&moof.traf[0], &moof.traf[0].trun[0]);
        let time = traf.tfdt.as_ref().unwrap().base_media_decode_time;
        assert!(next_time.is_none_or(|next| next == time), "decoded at {time}, after {next_time:?}");
        let samples: Vec<_> = trun.samples.iter().collect();
        let duration = |one: &mp4_atom::TrunEntry| {
            u64::from(one.duration.or(traf.tfhd.default_sample_duration).unwrap())
        };
        next_time = Some(time + samples.iter().map(duration).sum::<u64>());
        let data: u64 = samples.iter().map(|one| u64::from(one.size.unwrap())).sum();
        assert_eq!(
            (data, u64::try_from(trun.data_offset.unwrap()).unwrap()),
            (mdat.data.len() as u64, data_at + 8 - at)
        );
        frames += samples.len() as u64;
        moofs.insert(*at);
        if let Some(segment) = track.segments.iter().find(|segment| segment.offset == *at) {
            let flags = samples[0].flags.or(traf.tfhd.default_sample_flags).unwrap();
            assert_eq!(flags & 0x1_0000, 0, "a segment starts with a sync sample");
            assert_eq!(segment.key_frame_bytes, data_at + 8 + data - at);
            assert!(track.kind() == Kind::Audio || samples.len() == 1, "the key frame is alone");
        }
    }
    assert_eq!(frames, track.frames);
    assert!(track.segments.iter().all(|segment| moofs.contains(&segment.offset)));

    let input = format!("in/{}", track.file);
    let count = "-count_frames -show_entries stream=codec_name,nb_read_frames";
    let counted = folder.probe(count, &track.file);
    assert_eq!(counted, folder.probe(count, &input));
    assert_eq!(counted[1], frames.to_string());
    // The same samples in the same order: size and checksum of each.
    let packets = |file: &str| -> Vec<String> {
        let printed = folder.ffmpeg(&format!("-i {file} -c copy -f framecrc -"));
        let lines = printed.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split(',').skip(3).take(3).collect()).collect()
    };
    assert_eq!(packets(&track.file), packets(&input));
    folder.ffmpeg(&format!("-xerror -i {} -f null -", track.file));
}

#[test]
fn an_assembled_file_has_what_ffmpeg_wrote_and_an_index_over_it() {
    for rate in ["25", "30000/1001"] {
        let folder = Folder::new();
        for track in folder.ladder(rate) {
            check(&folder, &track);
            let duration = |file: &str| folder.probe("-show_entries stream=duration:format=duration", file);
            assert_eq!(duration(&track.file), duration(&format!("in/{}", track.file)));
            let count = if track.kind() == Kind::Audio { 5 } else { track.frames.div_ceil(60) };
            assert_eq!(track.segments.len() as u64, count.max(5));
        }
    }
}

#[test]
fn an_index_of_ffmpegs_is_replaced() {
    let folder = Folder::new();
    folder.video("v90", "size=160x90:rate=25:duration=4", &format!("{X264} {CMAF}+global_sidx"));
    folder.audio("a0", 4, "-ac 1 -movflags +global_sidx");
    assert!(matches!(atoms(&fs::read(folder.path("in/a0.mp4")).unwrap())[2].1, Any::Sidx(_)));
    check(&folder, &folder.assembled("v90", Kind::Video));
    let audio = folder.assembled("a0", Kind::Audio);
    check(&folder, &audio);
    // All of the 4 s, and the 1024 samples with which the encoder begins: what ffmpeg's own index leaves out.
    assert_eq!((audio.start, audio.duration), (0, 4 * 48_000 + 1024));
}

#[test]
fn times_are_those_of_presentation() {
    let folder = Folder::new();
    // Without negative offsets the first picture is shown two frames after it is decoded.
    folder.video(
        "v90",
        "size=160x90:rate=25:duration=5",
        &format!("{X264} -movflags +frag_keyframe+empty_moov+default_base_moof"),
    );
    let track = folder.assembled("v90", Kind::Video);
    let frame = u64::from(track.timescale) / 25;
    assert_eq!((track.start, track.duration), (2 * frame, 125 * frame));
    let starts: Vec<u64> = track.segments.iter().map(|segment| segment.start / frame).collect();
    assert_eq!(starts, [2, 52, 102]);
    check(&folder, &track);
}

#[test]
fn a_rate_that_varies_is_an_average() {
    let folder = Folder::new();
    // Every third picture is missing: 17 of 25 in the first second.
    let picture = r"size=160x90:rate=25:duration=6,select=mod(n\,3)";
    folder.video("v90", picture, &format!("-fps_mode vfr {X264} {CMAF}"));
    let track = folder.assembled("v90", Kind::Video);
    check(&folder, &track);
    let average = track.frames * u64::from(track.timescale) * 1000 / track.duration;
    assert!(track.frame_rate.thousandths().abs_diff(average) < 200, "{:?} for {average}", track.frame_rate);
    assert_eq!((track.frames, 1000 % track.frame_rate.denominator), (100, 0));
    let micros = track.micros(track.duration);
    folder.package(&[track]);
    assert!(
        Duration::from_secs_f64(folder.playlist("v90.m3u8").duration())
            .abs_diff(Duration::from_micros(micros))
            .as_micros()
            <= 1
    );
}

fn chunk(folder: &Folder, id: &str, size: &str, start: u32, seconds: u32) {
    folder.video(
        id,
        &format!("size={size}:rate=25:duration={}", start + seconds),
        &format!("-ss {start} -t {seconds} {X264} {CMAF}+frag_discont -output_ts_offset {start}"),
    );
}

#[test]
fn chunks_become_one_track() {
    let folder = Folder::new();
    chunk(&folder, "c0", "160x90", 0, 6);
    chunk(&folder, "c1", "160x90", 6, 4);
    let track = folder.assemble("v90", Kind::Video, &["c0", "c1"]).unwrap();
    assert_eq!((track.frames, track.segments.len()), (250, 5));
    assert_eq!(track.duration, 10 * u64::from(track.timescale));
    assert_eq!(folder.probe("-count_frames -show_entries stream=nb_read_frames", "v90.mp4"), ["250"]);
    folder.ffmpeg("-xerror -i v90.mp4 -f null -");
    let times: Vec<i64> = folder
        .probe("-show_entries packet=dts", "v90.mp4")
        .iter()
        .map(|time| time.parse().unwrap())
        .collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == times[1] - times[0]), "{times:?}");
}

#[test]
fn chunks_that_do_not_continue_each_other_are_refused() {
    let folder = Folder::new();
    chunk(&folder, "c0", "160x90", 0, 2);
    chunk(&folder, "c1", "160x90", 2, 2);
    chunk(&folder, "c2", "160x90", 4, 2);
    chunk(&folder, "other", "176x90", 2, 2);
    for (chunks, named, problem) in [
        (["c0", "c2"], "c2", "leaves a gap of 25600 ticks"),
        (["c0", "c0"], "c0", "overlaps the fragment before it by 25600 ticks"),
        (["c1", "c0"], "c0", "overlaps"),
        (["c0", "other"], "other", "its moov differs"),
    ] {
        let error = folder.assemble("v90", Kind::Video, &chunks).unwrap_err();
        assert!(
            matches!(&error, Error::Joint { path, .. } if path.ends_with(format!("{named}.mp4"))),
            "{error}"
        );
        assert!(error.to_string().contains(problem), "{error}");
        assert!(!folder.path("v90.mp4").exists(), "nothing is written before all is known to fit");
    }
}

#[test]
fn what_cannot_be_played_is_refused() {
    let folder = Folder::new();
    folder.video("v90", "size=160x90:rate=25:duration=1", &format!("{X264} {CMAF}"));
    folder.video("plain", "size=160x90:rate=25:duration=1", X264);
    folder.video(
        "edits",
        "size=160x90:rate=25:duration=1",
        &format!("{X264} -movflags +frag_keyframe+delay_moov"),
    );
    folder.video(
        "mpeg4",
        "size=160x90:rate=25:duration=1",
        "-c:v mpeg4 -f mp4 -movflags +cmaf+frag_keyframe",
    );
    folder.video(
        "open",
        "size=160x90:rate=25:duration=3",
        &format!("-c:v libx265 -x265-params log-level=none:keyint=25:open-gop=1 -tag:v hvc1 -f mp4 {CMAF}"),
    );
    let bytes = fs::read(folder.path("in/v90.mp4")).unwrap();
    fs::write(folder.path("in/short.mp4"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(folder.path("in/empty.mp4"), []).unwrap();
    for (id, kind, problem) in [
        ("v90", Kind::Audio, "the track is \"vide\" where Audio was expected"),
        ("plain", Kind::Video, "the box moof at byte"),
        ("edits", Kind::Video, "the box edts at byte 252 is an edit list"),
        ("mpeg4", Kind::Video, "the box mp4v at byte 417 is no video codec"),
        ("open", Kind::Video, "an open GOP cannot be switched to"),
        ("short", Kind::Video, "bytes where"),
        ("empty", Kind::Video, "the box ftyp at byte 0 is missing"),
    ] {
        let error = folder.assemble(id, kind, &[id]).unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains(&format!("in/{id}.mp4")), "{error}");
    }
    // An input is never its own output.
    let path = folder.path("in/v90.mp4");
    let error =
        assemble(&Source { id: "v90".to_owned(), kind: Kind::Video, fragments: vec![path.clone()] }, &path);
    assert!(error.unwrap_err().is_retryable());
    assert_eq!(fs::read(path).unwrap(), bytes);
    assert!(folder.assemble("none", Kind::Video, &[]).unwrap_err().to_string().contains("is of no files"));
}
