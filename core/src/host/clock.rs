//! The time of day, UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// `20261123_122055`: sorts by time, and can be part of a file name.
pub fn timestamp() -> String {
    let [year, month, day, hour, minute, second] = civil(seconds());
    format!("{year:04}{month:02}{day:02}_{hour:02}{minute:02}{second:02}")
}

/// `2026/11/23 12:20:55`, as MMEngine's logs have it.
pub fn now() -> String {
    let [year, month, day, hour, minute, second] = civil(seconds());
    format!("{year:04}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}")
}

fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Year, month, day, hour, minute, second. The calendar is Howard Hinnant's `civil_from_days`: years begin in March, so that the day that comes
/// every four years is the last.
fn civil(seconds: u64) -> [u64; 6] {
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let of_day = seconds % 86_400;
    [
        year,
        month,
        day,
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        assert_eq!(civil(0), [1970, 1, 1, 0, 0, 0]);
        assert_eq!(civil(951_782_400), [2000, 2, 29, 0, 0, 0]);
        assert_eq!(civil(1_795_435_255), [2026, 11, 23, 12, 0, 55]);
        assert_eq!(timestamp().len(), 15);
    }
}
