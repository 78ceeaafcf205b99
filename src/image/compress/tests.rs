use super::*;
use flate2::read::MultiGzDecoder;
use proptest::prelude::*;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// The length of a block of gzip.
const BLOCK: usize = 512 * 1024;

/// Numbers that look random and never change (xorshift64).
struct Numbers(u64);

impl Iterator for Numbers {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Some(self.0)
    }
}

/// So many bytes that cannot be compressed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    Numbers(seed).flat_map(u64::to_le_bytes).take(length).collect()
}

/// So many bytes like a program's text: words, some much more often than others.
fn prose(seed: u64, length: usize) -> Vec<u8> {
    const WORDS: [&str; 12] =
        ["the", "return", "layer", "fn ", "    ", "\n", "registry", "self.", "blob", "0x1f", "{\n", "};\n"];
    let mut text = Vec::with_capacity(length + 16);
    let mut numbers = Numbers(seed);
    while text.len() < length {
        let number = numbers.next().unwrap();
        let spread = usize::try_from((number >> 8) % 144).unwrap();
        text.extend(WORDS[spread.isqrt()].bytes());
        if number.is_multiple_of(5) {
            text.extend((number >> 40).to_string().bytes());
        }
    }
    text.truncate(length);
    text
}

/// A tar archive of these files, as a builder would make it.
fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The three layers whose digests are written down: sources, a file that is compressed already, and what upsets codecs
/// (long runs that fill whole blocks, a file of one byte, a last block of a few bytes).
fn fixtures() -> [Vec<u8>; 3] {
    let sources: Vec<_> =
        (1_u16..60).map(|n| (format!("src/file-{n}.rs"), prose(n.into(), 40_000 + 977 * usize::from(n)))).collect();
    let sources: Vec<_> = sources.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
    let mut upsetting = archive(&[
        ("zeroes", vec![0; 3 * BLOCK]),
        ("ones", vec![0xff; 2 * BLOCK + 3]),
        ("x", vec![b'x']),
        ("period", (0..=250).cycle().take(BLOCK).collect()),
        ("mixed", [noise(7, BLOCK / 2), prose(8, BLOCK / 2), vec![0; 5000], noise(9, 33)].concat()),
    ]);
    upsetting.extend([1, 2, 3]);
    [archive(&sources), archive(&[("app.war", noise(42, 2 * BLOCK + 12_345))]), upsetting]
}

/// What the three fixtures are compressed to by the codec of this program on this processor.
fn golden() -> [&'static str; 3] {
    if gzip_codec().ends_with("portable form") { PORTABLE } else { GOLDEN }
}

/// What the three fixtures are compressed to: ISA-L without help of the processor (an x86-64 without SSE4.2).
const PORTABLE: [&str; 3] = [
    "sha256:454cca916a51427c7630fcf4445b3f93f66bc77c3f7369c7180cdd322341c60e",
    "sha256:b567ee9fc650a049d737afa0c7e5da982fdf71d8d0528a197a96cf89b8491fb9",
    "sha256:8ceee2113350d4b6af44fa63c58bc40ac960325588be80c49b6a46e16da8c851",
];
/// What the three fixtures are compressed to: ISA-L on 64-bit ARM.
#[cfg(all(feature = "isal", target_arch = "aarch64"))]
const GOLDEN: [&str; 3] = [
    "sha256:655b9fc18a11858388a70ffe03fc640a86f47a4da73caee370690293e1a5e2be",
    "sha256:b567ee9fc650a049d737afa0c7e5da982fdf71d8d0528a197a96cf89b8491fb9",
    "sha256:951d1fb17e1e68076116e383ff777623d28c4a57eae25cd597b002c00efdf727",
];
/// What the three fixtures are compressed to: ISA-L on x86-64.
#[cfg(all(feature = "isal", not(target_arch = "aarch64")))]
const GOLDEN: [&str; 3] = [
    "sha256:e0602a6a8236f676ddd9463d02c20652959d1405c949c3169cdb2985ef514c08",
    "sha256:ec3dbc208114769e5619a053c479060b58bff122dd54700d8e7e9ddb64f4c7ae",
    "sha256:ca31cf7834a3809097271aba17af43122dfd53c9de7c73bf358e82766ce2f5a0",
];
/// What the three fixtures are compressed to: the fallback.
#[cfg(not(feature = "isal"))]
const GOLDEN: [&str; 3] = [
    "sha256:680bc5f63f6aa4fe17bcd70259543dead5b97f29095dcb8c3e12309da0ae6e03",
    "sha256:e0b4e776cbd0c766bb7b3b698d8f7dd16303bc936c1a0e7c7f48e94a0510ce4a",
    "sha256:4270a2b10c2782a6120813386664bf77a89d9e7cf68277e8b29d959fce03e55e",
];

/// What the three fixtures are compressed to: Zstandard.
const GOLDEN_ZSTD: [&str; 3] = [
    "sha256:5195885e6749c71590a44266d93b38cf014558b8fc76cc0667e4ffbdd70a3022",
    "sha256:63940159dc0fa906096f8624cdd9e3b134c43e17c5b6343bbd7a1bc751073672",
    "sha256:e54937575feafc878861dced55da30ac9c400efb72912ab82da0fded8df45e82",
];

/// Compresses with so many threads, written in pieces of these lengths, again and again.
fn compress_in(compression: Compression, threads: usize, data: &[u8], pieces: &[usize]) -> (CompressedLayer, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut compressor = Compressor::with_pool(Arc::new(Pool::new(threads)), compression, |piece: Bytes| {
        bytes.extend(piece);
        Ok(())
    });
    let mut rest = data;
    for length in pieces.iter().cycle() {
        let (piece, after) = rest.split_at(rest.len().min(*length));
        compressor.write_all(piece).unwrap();
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let layer = compressor.finish().unwrap();
    (layer, bytes)
}

/// What other decoders make of it.
fn inflate(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut back = Vec::new();
    match compression {
        Compression::Gzip => MultiGzDecoder::new(bytes).read_to_end(&mut back).unwrap(),
        Compression::Zstd => zstd::Decoder::new(bytes).unwrap().read_to_end(&mut back).unwrap(),
    };
    back
}

#[test]
fn the_bytes_of_known_layers_never_change() {
    for (compression, golden) in [(Compression::Gzip, golden()), (Compression::Zstd, GOLDEN_ZSTD)] {
        let digests = fixtures().map(|data| {
            let (layer, bytes) = compress(compression, &mut data.as_slice()).unwrap();
            assert_eq!(layer.diff_id, Digest::of(&data));
            assert_eq!(layer.descriptor.digest, Digest::of(&bytes));
            assert_eq!(layer.descriptor.size, bytes.len() as u64);
            assert!(inflate(compression, &bytes) == data, "a fixture does not inflate back");
            layer.descriptor.digest.as_str().to_owned()
        });
        let name = if compression == Compression::Gzip { gzip_codec() } else { "zstd" };
        assert_eq!(digests, golden.map(str::to_owned), "{name} gives other bytes: every layer would be sent again");
    }
}

#[test]
fn gzip_itself_inflates_every_fixture() {
    for data in fixtures() {
        let (_, bytes) = compress(Compression::Gzip, &mut data.as_slice()).unwrap();
        let mut gzip =
            Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gzip");
        let mut input = gzip.stdin.take().unwrap();
        let writer = std::thread::spawn(move || input.write_all(&bytes));
        let output = gzip.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success() && output.stdout == data);
    }
}

#[test]
fn what_is_compressed_already_is_stored() {
    let data = noise(3, 3 * BLOCK);
    let (layer, _) = compress(Compression::Gzip, &mut data.as_slice()).unwrap();
    assert!(layer.descriptor.size < (data.len() + data.len() / 1000) as u64, "{}", layer.descriptor.size);
}

#[test]
fn a_block_is_stored_only_where_it_would_hardly_shrink() {
    let size = |data: &[u8]| compress(Compression::Gzip, &mut &data[..]).unwrap().1.len();
    let piece = noise(5, 4096);
    // All bytes are as frequent as in noise, but it repeats itself.
    assert!(size(&piece.repeat(BLOCK / piece.len())) < BLOCK / 20);
    // A tenth of text among what is packed is worth it.
    let mixed: Vec<u8> =
        (0..64).flat_map(|n| if n % 8 == 0 { prose(n + 1, BLOCK / 64) } else { noise(n + 1, BLOCK / 64) }).collect();
    assert!(size(&mixed) < BLOCK / 100 * 98, "{}", size(&mixed));
    // Stored blocks are five bytes longer for each part of 64 KiB, and the whole has 20 bytes around it.
    assert_eq!(size(&noise(6, BLOCK)), BLOCK + 9 * 5 + 20);
}

#[test]
fn an_empty_layer_is_an_empty_archive() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let (layer, bytes) = compress(compression, &mut io::empty()).unwrap();
        assert_eq!(layer.diff_id, Digest::of(b""));
        assert!(!bytes.is_empty());
        assert_eq!(inflate(compression, &bytes), b"");
    }
}

#[test]
fn reading_gives_the_bytes_that_writing_gives() {
    let [data, ..] = fixtures();
    let (layer, bytes) = compress(Compression::Gzip, &mut data.as_slice()).unwrap();
    assert_eq!(compress_in(Compression::Gzip, 2, &data, &[1_000, 70_000]), (layer, bytes.to_vec()));
}

#[test]
fn a_slow_sink_holds_the_writer_up_and_memory_stays_bounded() {
    let pool = Arc::new(Pool::new(2));
    let backlog = pool.backlog();
    let (sender, receiver) = mpsc::sync_channel::<Bytes>(0);
    let (entered, in_the_sink) = mpsc::channel();
    let (written, taken_in) = mpsc::channel();
    let writer = std::thread::spawn(move || {
        let sink = |piece| {
            entered.send(()).map_err(io::Error::other)?;
            sender.send(piece).map_err(io::Error::other)
        };
        let mut compressor = Compressor::with_pool(pool, Compression::Gzip, sink);
        for block in 1..100 {
            compressor.write_all(&noise(block, BLOCK)).unwrap();
            written.send(block).unwrap();
        }
        compressor.finish().unwrap()
    });
    // Nobody takes a piece: the writer stands in the sink with the first that it has to give away.
    in_the_sink.recv().unwrap();
    let begun = taken_in.try_iter().count();
    assert!(begun <= backlog, "{begun} blocks were taken in while nobody took a piece out");
    let size: usize = receiver.iter().map(|piece| piece.len()).sum();
    assert_eq!(writer.join().unwrap().descriptor.size, size as u64);
}

#[test]
fn a_sink_that_fails_ends_the_layer() {
    let wanted = AtomicBool::new(true);
    let mut compressor = Compressor::new(Compression::Gzip, |_| {
        if wanted.swap(false, Ordering::Relaxed) { Ok(()) } else { Err(io::Error::other("nobody wants it")) }
    });
    let error = (1..1000).find_map(|n| compressor.write_all(&noise(n, BLOCK)).err()).expect("an error");
    assert_eq!(error.to_string(), "nobody wants it");
}

/// Data of several blocks, a part of it like each kind of file; the length of the parts is chosen.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let part = (0..4_u8, 1..u64::MAX, 0..BLOCK).prop_map(|(kind, seed, length)| match kind {
        0 => noise(seed, length),
        1 => prose(seed, length),
        2 => vec![0; length],
        _ => vec![0xff; length / 2],
    });
    proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_number_of_threads_and_any_pieces_give_the_same_bytes_that_inflate_back(
        data in data(),
        threads in 1_usize..9,
        pieces in proptest::collection::vec(1..2 * BLOCK, 1..8),
        compression in prop_oneof![Just(Compression::Gzip), Just(Compression::Zstd)],
    ) {
        let (layer, bytes) = compress_in(compression, 1, &data, &[BLOCK]);
        prop_assert_eq!(&compress_in(compression, threads, &data, &pieces), &(layer.clone(), bytes.clone()));
        prop_assert_eq!(layer.diff_id, Digest::of(&data));
        prop_assert!(inflate(compression, &bytes) == data);
    }
}
