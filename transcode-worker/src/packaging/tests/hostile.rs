//! Files that nobody meant: whatever the bytes, an answer or an error that names the place, and never a panic.

use std::{fs, io::Cursor, sync::OnceLock};

use proptest::{collection::vec, prelude::*};

use super::{
    super::{assemble::Input, boxes::Fault},
    CMAF, Error, Folder, Kind, Options, Source, X264, assemble, package,
};

/// A small real file of each kind.
fn real() -> &'static [(Kind, Vec<u8>); 2] {
    static FILES: OnceLock<[(Kind, Vec<u8>); 2]> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = Folder::new();
        folder.video("v", "size=32x32:rate=10:duration=5", &format!("{X264} {CMAF}"));
        folder.audio("a", 5, "-ac 1 -b:a 16k");
        [(Kind::Video, "v"), (Kind::Audio, "a")]
            .map(|(kind, id)| (kind, fs::read(folder.path(&format!("in/{id}.mp4"))).unwrap()))
    })
}

fn read(bytes: &[u8], kind: Kind) -> Result<Input, Fault> {
    Input::read(&mut Cursor::new(bytes), bytes.len() as u64, kind)
}

/// Where a fault is, and what it says.
#[track_caller]
fn place(bytes: &[u8], kind: Kind) -> (String, u64, String) {
    match read(bytes, kind) {
        Err(Fault::Box { name, at, problem }) => (name.to_string(), at, problem.into()),
        Err(Fault::Io(error)) => panic!("{error}"),
        Ok(_) => panic!("was read"),
    }
}

fn find(bytes: &[u8], name: &[u8]) -> usize {
    bytes.windows(name.len()).position(|window| window == name).unwrap()
}

proptest! {
    #[test]
    fn garbage_is_an_error(bytes in vec(any::<u8>(), 0..2000), video in any::<bool>()) {
        let kind = if video { Kind::Video } else { Kind::Audio };
        prop_assert!(read(&bytes, kind).is_err());
    }

    /// A few bytes changed, mostly where the headers are; perhaps a piece twice, or the end cut off.
    #[test]
    fn a_mutated_file_is_an_error_that_names_its_place_or_is_packaged(
        which in 0..2_usize,
        changes in vec((any::<prop::sample::Index>(), any::<bool>(), prop_oneof![Just(0), Just(255), Just(1), any::<u8>()]), 0..6),
        piece in proptest::option::weighted(0.2, (any::<prop::sample::Index>(), any::<prop::sample::Index>())),
        cut in proptest::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let (kind, original) = &real()[which];
        let mut bytes = original.clone();
        let headers = find(&bytes, b"mdat");
        for (index, anywhere, value) in changes {
            let place = index.index(if anywhere { bytes.len() } else { headers });
            bytes[place] = value;
        }
        if let Some((from, to)) = piece {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let twice = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.splice(to..to, twice);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("in.mp4"), folder.path().join("out.mp4"));
        fs::write(&from, &bytes).unwrap();
        match assemble(&Source { id: "x".to_owned(), kind: *kind, fragments: vec![from] }, &to) {
            Ok(track) => {
                let last = track.segments.last().unwrap();
                prop_assert_eq!(last.offset + last.bytes, fs::metadata(&to).unwrap().len());
                drop(package(&[track], &Options::default(), folder.path()));
            }
            Err(Error::Box { at, .. }) => prop_assert!(at <= bytes.len() as u64),
            Err(Error::Track { .. }) => {}
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[test]
fn a_count_is_not_believed() {
    let (kind, mut bytes) = real()[0].clone();
    let trun = find(&bytes, b"trun");
    // No column at all, and as many samples as can be written: nothing in the file would end the loop.
    bytes[trun + 5..trun + 8].copy_from_slice(&[0, 0, 1]);
    bytes[trun + 8..trun + 12].copy_from_slice(&u32::MAX.to_be_bytes());
    let (name, at, problem) = place(&bytes, kind);
    assert_eq!((name.as_str(), at), ("trun", trun as u64 - 4));
    assert!(problem.contains("4294967295 samples"), "{problem}");
}

#[test]
fn a_size_is_not_believed() {
    let (kind, original) = &real()[0];
    let moof = find(original, b"moof") - 4;
    let with = |size: [u8; 4], large: [u8; 8]| {
        let mut bytes = original.clone();
        bytes[moof..moof + 4].copy_from_slice(&size);
        bytes[moof + 8..moof + 16].copy_from_slice(&large);
        place(&bytes, *kind)
    };
    for (size, large, problem) in [
        ([0; 4], [0; 8], "has no size"),
        ([0, 0, 0, 7], [0; 8], "less than its header"),
        ([255; 4], [0; 8], "bytes where"),
        ([0, 0, 0, 1], [255; 8], "bytes where"),
        ([0, 0, 0, 1], [0; 8], "less than its header"),
    ] {
        let (name, at, said) = with(size, large);
        assert_eq!((name.as_str(), at), ("moof", moof as u64));
        assert!(said.contains(problem), "{said}");
    }
}

#[test]
fn a_header_is_not_read_beyond_its_limit() {
    let (kind, original) = &real()[0];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.mp4");
    let moof = find(original, b"moof") - 4;
    // A hole of a gigabyte: reading it would be seen in the memory of this test.
    let file = fs::File::create(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &original[..moof + 8], 0).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &(1_u32 << 30).to_be_bytes(), moof as u64).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"\0\0\0\x08mdat", moof as u64 + (1 << 30)).unwrap();
    let source = Source { id: "x".to_owned(), kind: *kind, fragments: vec![path] };
    let error = assemble(&source, &folder.path().join("out.mp4")).unwrap_err().to_string();
    assert!(error.contains(&format!("the box moof at byte {moof} has 1073741824 bytes; at most")), "{error}");
}
