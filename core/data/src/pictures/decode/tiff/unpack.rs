//! The compressions of TIFF, but JPEG.

use std::convert::Infallible;

use ::fax::BitReader;
use ::fax::maps::{black, white};

use super::{Fault, corrupt, unread};

pub(super) const NONE: u64 = 1;
pub(super) const FAX2: u64 = 2;
pub(super) const FAX3: u64 = 3;
pub(super) const FAX4: u64 = 4;
pub(super) const LZW: u64 = 5;
pub(super) const JPEG: u64 = 7;
pub(super) const DEFLATE: u64 = 8;
pub(super) const PACK_BITS: u64 = 32773;
pub(super) const OLD_DEFLATE: u64 = 32946;

/// The name of a compression that is not read.
pub(super) fn name_of_unread(compression: u64, t4_options: u64) -> Option<&'static str> {
    Some(match compression {
        FAX3 if t4_options & 1 == 1 => "two-dimensional fax of group 3",
        NONE | FAX2 | FAX3 | FAX4 | LZW | JPEG | DEFLATE | PACK_BITS | OLD_DEFLATE => return None,
        6 => "JPEG of the old style",
        9 | 10 | 34661 => "JBIG",
        32766 => "NeXT",
        32771 => "fax in words",
        32809 => "ThunderScan",
        32908 => "Pixar",
        34676 | 34677 => "SGI LogLuv",
        33003 | 33005 | 34712 => "JPEG 2000",
        34887 => "LERC",
        34892 => "lossy JPEG of a DNG",
        34925 => "LZMA",
        50000 => "Zstandard",
        50001 => "WebP",
        50002 | 52546 => "JPEG XL",
        _ => "unknown",
    })
}

/// Unpacks into `out`, and gives the number of bytes that there were for it.
pub(super) fn fill(
    packed: &[u8],
    out: &mut [u8],
    compression: u64,
    width: usize,
) -> Result<usize, Fault> {
    match compression {
        PACK_BITS => Ok(pack_bits(packed, out)),
        LZW => lzw(packed, out),
        FAX2 | FAX3 | FAX4 => fax(packed, out, width, compression),
        _ => {
            let mut inflater = flate2::Decompress::new(true);
            let done = inflater.decompress(packed, out, flate2::FlushDecompress::Finish);
            done.map_err(|error| corrupt(error.to_string()))?;
            Ok(inflater.total_out() as usize)
        }
    }
}

/// Fills `out` and gives the number of bytes that were there.
fn pack_bits(packed: &[u8], out: &mut [u8]) -> usize {
    let (mut rest, mut filled) = (packed, 0);
    while let [code, tail @ ..] = rest {
        let free = &mut out[filled..];
        let (used, count) = match usize::from(*code) {
            128 => (0, 0),
            n if n < 128 => (n + 1, n + 1),
            n => (1, 257 - n),
        };
        let Some((from, tail)) = tail.split_at_checked(used) else {
            break;
        };
        let count = count.min(free.len());
        match used {
            1 => free[..count].fill(from[0]),
            _ => free[..count].copy_from_slice(&from[..count]),
        }
        (rest, filled) = (tail, filled + count);
    }
    filled
}

fn lzw(packed: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
    if let [0, second, ..] = packed
        && second & 1 == 1
    {
        return unread("LZW of the old style");
    }
    let mut decoder = weezl::decode::Configuration::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
        .with_yield_on_full_buffer(true)
        .build();
    let (mut read, mut filled) = (0, 0);
    while filled < out.len() {
        let done = decoder.decode_bytes(&packed[read..], &mut out[filled..]);
        read += done.consumed_in;
        filled += done.consumed_out;
        match done.status {
            Ok(weezl::LzwStatus::Ok) if done.consumed_in + done.consumed_out > 0 => {}
            Ok(_) => break,
            Err(error) => return Err(corrupt(error.to_string())),
        }
    }
    Ok(filled)
}

/// Fax of group 4, 3 (one-dimensional), or with its codes alone (2): black is a set bit.
fn fax(packed: &[u8], out: &mut [u8], width: usize, group: u64) -> Result<usize, Fault> {
    let row_bytes = width.div_ceil(8);
    let rows = u16::try_from(out.len() / row_bytes);
    let (Ok(columns), Ok(rows)) = (u16::try_from(width), rows) else {
        return unread("a fax of more than 65535 rows or columns");
    };
    let mut filled = 0;
    let mut line = |transitions: &[u16]| {
        let Some(row) = out.get_mut(filled..filled + row_bytes) else {
            return;
        };
        for (x, colour) in ::fax::decoder::pels(transitions, columns).enumerate() {
            row[x / 8] |= u8::from(colour == ::fax::Color::Black) << (7 - x % 8);
        }
        filled += row_bytes;
    };
    let input = packed.iter().copied();
    match group {
        FAX4 => ::fax::decoder::decode_g4(input, columns, Some(rows), line),
        // the last line may lack its end
        FAX3 => ::fax::decoder::decode_g3(input.chain([0, 1].repeat(6)), line),
        _ => {
            let input = input.chain([0; 4]).map(Ok::<u8, Infallible>);
            let reader = ::fax::ByteReader::new(input);
            reader.ok().and_then(|mut reader| {
                (0..rows).try_for_each(|_| {
                    line(&runs(&mut reader, columns)?);
                    reader.consume(reader.bits_to_byte_boundary()).ok()
                })
            })
        }
    };
    Ok(filled)
}

/// Where a row changes its colour, white first.
fn runs(reader: &mut impl BitReader, columns: u16) -> Option<Vec<u16>> {
    let (mut ends, mut at, mut white) = (Vec::new(), 0u16, true);
    while at < columns {
        let run = if white {
            white::decode(reader)?
        } else {
            black::decode(reader)?
        };
        at = at.checked_add(run)?;
        // a longer run is a sum of codes, of which the last is below 64
        if run < 64 {
            ends.push(at);
            white = !white;
        }
    }
    Some(ends)
}
