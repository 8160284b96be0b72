//! What a file that is not what was expected seems to be, by its first bytes, and what to do about it: for the message.

/// Bytes that a file of some kind has at a place, and the kind.
type Known = (usize, &'static [u8], &'static str);

const PICTURES: [Known; 31] = [
    (0, b"8BPS", "a Photoshop file (PSD)"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL \r\n\x87\n", "JPEG XL"),
    (4, b"jP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"#?RGBE", "Radiance HDR"),
    (0, b"PF\n", "a floating-point map (PFM)"),
    (0, b"Pf\n", "a floating-point map (PFM)"),
    (0, b"P7\n", "PAM"),
    (0, b"\x59\xa6\x6a\x95", "a Sun raster"),
    (0, b"\0\0\x01\0", "an icon (ICO)"),
    (0, b"gimp xcf", "a GIMP file (XCF)"),
    (0, b"qoif", "QOI"),
    (0, b"DDS ", "a texture (DDS)"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw file (RAF)"),
    (0, b"IIRO", "a camera's raw file (ORF)"),
    (0, b"IIU\0", "a camera's raw file (RW2)"),
    (128, b"DICM", "a medical picture (DICOM)"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "PostScript"),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)"),
    (0, b"AT&TFORM", "DjVu"),
    (0, b"BPG\xfb", "BPG"),
    (0, b"\xff\xd8\xff\xf7", "JPEG-LS"),
    (0, b"II\xbc\x01", "JPEG XR"),
    (0, b"icns", "icons (ICNS)"),
    (0, b"\x0a\x05\x01", "PCX"),
    (0, b"\x01\xda\0\x01", "SGI"),
];

const MOVIE: &str = "a video (MP4 or QuickTime): take its frames out first";

const OTHERS: [Known; 37] = [
    (0, b"\x1f\x8b", "gzip data (unpack it first)"),
    (0, b"7z\xbc\xaf", "a 7z archive (unpack it first)"),
    (0, b"BZh", "bzip2 data (unpack it first)"),
    (0, b"\xfd7zXZ", "xz data (unpack it first)"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard data (unpack it first)"),
    (0, b"Rar!\x1a\x07", "a RAR archive (unpack it first)"),
    (0, b"PK\x03\x04", "a zip archive (unpack it first)"),
    (0, b"PK", "an empty or split zip archive"),
    (
        257,
        b"ustar",
        "a tar archive (unpack it; tensors of PyTorch before 0.2 are not read)",
    ),
    (
        0,
        b"\x89PNG\n",
        "a PNG picture whose line ends were changed: copy it again, not as text",
    ),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (8, b"WEBP", "a WebP picture"),
    (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"),
    (4, b"moov", MOVIE),
    (4, b"mdat", MOVIE),
    (4, b"wide", MOVIE),
    (4, b"ftyp", MOVIE),
    (8, b"AVI ", "a video (AVI): take its frames out first"),
    (
        0,
        b"\x1a\x45\xdf\xa3",
        "a video (Matroska or WebM): take its frames out first",
    ),
    (0, b"GGUF", "a GGUF file"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (0, b"\x93NUMPY", "a numpy array (.npy)"),
    (0, b"\x80\x02", "a Python pickle"),
    (0, b"\x80\x03", "a Python pickle"),
    (0, b"\x80\x04", "a Python pickle"),
    (0, b"\x80\x05", "a Python pickle"),
    (0, b"PAR1", "a Parquet file"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (
        0,
        b"\0\x05\x16\x07",
        "what macOS keeps beside a file (AppleDouble): leave it out",
    ),
    (0, b"\0\0\0\x01Bud1", "macOS's .DS_Store: leave it out"),
    (
        0,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "Windows' Thumbs.db or an old Office document: leave it out",
    ),
    (
        0,
        b"L\0\0\0\x01\x14\x02\0",
        "a Windows shortcut: give the file that it points to",
    ),
    (0, b"\xff\xfe", "text in UTF-16"),
    (0, b"\x7fELF", "a program"),
];

/// Says what `file` seems to be, as in `it looks like HEIC (convert it to JPEG or PNG)`.
pub fn looks_like(file: &[u8]) -> String {
    let head = &file[..file.len().min(512)];
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let lower = text.to_ascii_lowercase();
    if file.is_empty() {
        "the file is empty".to_owned()
    } else if lower.starts_with("version https://git-lfs") {
        "it is a Git LFS pointer, not the file it stands for (run `git lfs pull`)".to_owned()
    } else if lower.starts_with("<svg") || lower.starts_with("<?xml") && lower.contains("<svg") {
        "it looks like SVG (convert it to JPEG or PNG)".to_owned()
    } else if ["<!doctype", "<html", "<?xml"]
        .iter()
        .any(|tag| lower.starts_with(tag))
    {
        "it is a web page: the download gave an error page instead of the file".to_owned()
    } else if let Some(kind) = picture(head) {
        format!("it looks like {kind} (convert it to JPEG or PNG)")
    } else if let Some(kind) = other(head) {
        format!("it looks like {kind}")
    } else if file.iter().all(|byte| *byte == 0) {
        format!("it is {} zeros: copy or download it again", file.len())
    } else if ["data:image", "/9j/", "ivborw0kggo"]
        .iter()
        .any(|start| lower.starts_with(start))
    {
        "it is a picture written as text (base64): decode that first".to_owned()
    } else if plain(text) {
        let line: String = text
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(40)
            .collect();
        format!("it is a text file that begins with {line:?}")
    } else {
        let first: Vec<_> = head
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("it begins with the bytes {}", first.join(" "))
    }
}

/// The kind of a file that is no text, by its first bytes. A list of names may begin with `PK` and yet be a text.
pub fn no_text(file: &[u8]) -> Option<&'static str> {
    let head = &file[..file.len().min(512)];
    if plain(&String::from_utf8_lossy(head)) {
        return None;
    }
    picture(head).or(other(head))
}

/// Without control characters and bytes that are no UTF-8.
fn plain(text: &str) -> bool {
    !text.contains(|c: char| c == '\u{fffd}' || c.is_control() && !c.is_whitespace())
}

/// A picture that is not read.
fn picture(head: &[u8]) -> Option<&'static str> {
    media(head).or(find(&PICTURES, head))
}

fn other(head: &[u8]) -> Option<&'static str> {
    find(&OTHERS, head)
}

fn find(kinds: &[Known], head: &[u8]) -> Option<&'static str> {
    let has = |(at, magic, _): &&Known| head.get(*at..).is_some_and(|rest| rest.starts_with(magic));
    kinds.iter().find(has).map(|known| known.2)
}

/// A picture in ISO's container for media: its box `ftyp` names a brand, and others that the file is compatible with.
fn media(head: &[u8]) -> Option<&'static str> {
    let length = u32::from_be_bytes(*head.first_chunk()?) as usize;
    let brands = head.get(8..length.min(head.len()))?;
    if head.get(4..8)? != b"ftyp" {
        return None;
    }
    let (brands, _) = brands.as_chunks::<4>();
    let any = |names: &[&[u8; 4]]| brands.iter().any(|brand| names.contains(&brand));
    if any(&[b"avif", b"avis"]) {
        Some("AVIF")
    } else if any(&[
        b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1",
    ]) {
        Some("HEIC")
    } else if any(&[b"crx "]) {
        Some("a camera's raw file (CR3)")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_no_other_kind() {
        assert_eq!(no_text(b"PK01.jpg\nPK02.jpg"), None);
        assert_eq!(no_text(b"car\nwide load"), None);
        assert_eq!(
            no_text(b"PK\x03\x04"),
            Some("a zip archive (unpack it first)")
        );
    }

    #[test]
    fn kinds_and_what_to_do() {
        let convert = "(convert it to JPEG or PNG)";
        for (bytes, kind, help) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIC", convert),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC", convert),
            (b"\0\0\0\x1cftypmif1\0\0\0\0avifmif1miaf", "AVIF", convert),
            (b"\0\0\0\x20ftypavif", "AVIF", convert),
            (b"\0\0\0\x18ftypcrx \0\0\0\0", "CR3", convert),
            (b"\0\0\0\x18ftypisom\0\0\0\0mp41", "a video (MP4", "frames"),
            (b"\xff\x0a\xfa\x7f", "JPEG XL", convert),
            (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL", convert),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000", convert),
            (b"8BPS\0\x01", "PSD", convert),
            (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg>", "SVG", convert),
            (b"%PDF-1.7", "a PDF document", convert),
            (b"  <html>", "a web page", "error page"),
            (
                b"version https://git-lfs.github.com/spec/v1\n",
                "Git LFS pointer",
                "git lfs pull",
            ),
            (b"\0\x05\x16\x07\0\x02", "AppleDouble", "leave it out"),
            (
                b"{\"message\": \"Not Found\"}",
                "text file that begins with \"{\\\"mess",
                "Not Found",
            ),
            (&[0; 600], "600 zeros", "again"),
            (b"\x01\x02\x03", "begins with the bytes 01 02 03", ""),
            (b"\xff", "begins with the bytes ff", ""),
            (b"/9j/4AAQSkZJRg", "base64", "decode"),
            (b"\xff\xfeN\0o\0", "UTF-16", ""),
            (b"\x89PNG\n\x1a\n", "line ends", "not as text"),
            (b"\0\0\0\x08wide\0\0", "a video", "frames"),
        ] {
            let said = looks_like(bytes);
            assert!(said.contains(kind) && said.contains(help), "{said}");
        }
    }
}
