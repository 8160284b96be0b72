//! Keys and clicks for a display, by the extension that X has for tests (XTEST): no other program is needed.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// A connection to a display. <https://www.x.org/releases/current/doc/xproto/x11protocol.html>, appendix B; `xtestproto`.
pub struct Keyboard {
    stream: UnixStream,
    xtest: u8,
    root: [u8; 4],
}

/// Codes of keys, as Linux has them plus 8.
pub const CONTROL: u8 = 37;
pub const ALT: u8 = 64;
pub const ENTER: u8 = 36;
pub const HOME: u8 = 110;

const ROWS: [(u8, &str); 4] = [
    (10, "1234567890"),
    (24, "qwertyuiop"),
    (38, "asdfghjkl"),
    (52, "zxcvbnm"),
];

/// The key of a letter or figure.
pub fn key(c: char) -> u8 {
    let mut rows = ROWS.into_iter();
    let found = rows.find_map(|(first, row)| Some(first + row.find(c)? as u8));
    found.expect("a letter or a figure")
}

impl Keyboard {
    /// Of a display such as `:7`.
    pub fn of(display: &str) -> Self {
        let socket = format!("/tmp/.X11-unix/X{}", display.trim_start_matches(':'));
        let mut stream = UnixStream::connect(socket).unwrap();
        // little-endian, version 11.0, no authorization
        stream
            .write_all(&[b'l', 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            .unwrap();
        let mut head = [0; 8];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(head[0], 1, "the display is open to everybody");
        let mut rest = vec![0; 4 * usize::from(u16::from_le_bytes([head[6], head[7]]))];
        stream.read_exact(&mut rest).unwrap();
        // after 32 bytes, the vendor's name and the formats of pictures, each 8 bytes long, comes the first screen
        let vendor = usize::from(u16::from_le_bytes([rest[16], rest[17]]));
        let screen = 32 + vendor.next_multiple_of(4) + 8 * usize::from(rest[21]);
        let root = rest[screen..screen + 4].try_into().unwrap();
        let mut keyboard = Self {
            stream,
            xtest: 0,
            root,
        };
        // QueryExtension
        let asked = [98, 0, 4, 0, 5, 0, 0, 0];
        let reply = keyboard.ask(&[&asked[..], b"XTEST\0\0\0"].concat());
        assert_eq!(reply[8], 1, "it has XTEST");
        keyboard.xtest = reply[9];
        keyboard
    }

    fn ask(&mut self, request: &[u8]) -> [u8; 32] {
        self.stream.write_all(request).unwrap();
        loop {
            let mut reply = [0; 32];
            self.stream.read_exact(&mut reply).unwrap();
            assert_ne!(reply[0], 0, "an error: {reply:?}");
            // what is no answer is an event, such as another keyboard's
            if reply[0] == 1 {
                return reply;
            }
        }
    }

    /// FakeInput; waits until it is done.
    fn fake(&mut self, kind: u8, detail: u8, [x, y]: [i16; 2]) {
        let mut request = [0; 36];
        request[..6].copy_from_slice(&[self.xtest, 2, 9, 0, kind, detail]);
        request[24..26].copy_from_slice(&x.to_le_bytes());
        request[26..28].copy_from_slice(&y.to_le_bytes());
        self.stream.write_all(&request).unwrap();
        // GetInputFocus: has a reply
        self.ask(&[43, 0, 1, 0]);
    }

    /// Presses keys together, and lets them go.
    pub fn press(&mut self, keys: &[u8]) {
        keys.iter().for_each(|key| self.fake(2, *key, [0, 0]));
        let back = keys.iter().rev();
        back.for_each(|key| self.fake(3, *key, [0, 0]));
    }

    /// Types letters and figures.
    pub fn write(&mut self, text: &str) {
        text.chars().for_each(|c| self.press(&[key(c)]));
    }

    /// Clicks, and has keys go to the window there: nobody else manages windows.
    pub fn click(&mut self, at: [i16; 2]) {
        self.fake(6, 0, at);
        // QueryPointer, SetInputFocus
        let [a, b, c, d] = self.root;
        let seen = self.ask(&[38, 0, 2, 0, a, b, c, d]);
        let focus = [&[42, 1, 3, 0], &seen[12..16], &[0; 4]].concat();
        self.stream.write_all(&focus).unwrap();
        self.fake(4, 1, [0, 0]);
        self.fake(5, 1, [0, 0]);
    }
}
