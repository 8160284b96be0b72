//! `smalti devices [--json]`: what a model can run on, and what `auto` takes.

use crate::style;
use serde_json::{Value, json};
use smalti::device::{Adapter, adapters, auto_adapter};

/// The list as text, or as JSON.
///
/// JSON: `{"auto": NAME, "devices": [{"device", "name", "backend", "kind", "driver", ...}]}`, where `device` is what
/// `--device` takes.
pub async fn report(as_json: bool) -> String {
    let found = adapters().await;
    if as_json {
        format!("{:#}\n", to_json(&found))
    } else {
        to_text(&found)
    }
}

/// Prints the list.
#[cfg(not(target_arch = "wasm32"))]
pub fn run(as_json: bool) {
    style::say(pollster::block_on(report(as_json)).trim_end());
}

fn to_text(found: &[Adapter]) -> String {
    let auto = auto_adapter(found).map(|a| a.index);
    let mark = |is_auto: bool| if is_auto { "*" } else { " " };
    let mut out = String::new();
    for a in found {
        out += &format!(
            "{} {:<4} {:<10} {}\n         {}; largest buffer {}, largest tensor {}, {} invocations and {} a workgroup\n",
            mark(auto == Some(a.index)),
            a.index,
            a.kind,
            a.title(),
            if a.driver.is_empty() {
                "driver not told"
            } else {
                &a.driver
            },
            bytes(a.max_buffer_bytes),
            bytes(a.max_binding_bytes),
            a.max_invocations,
            bytes(a.max_workgroup_bytes.into()),
        );
        if a.is_software() {
            out += "         a program on the CPU: slower than `cpu`, taken only when asked for\n";
        }
    }
    out += &format!(
        "{} {:<4} {:<10} {}\n",
        mark(auto.is_none()),
        "cpu",
        "processor",
        cpu()
    );
    out += match auto {
        Some(_) => {
            "* is what `--device auto` takes; `--device` also takes a number or a part of a name\n"
        }
        None => "* is what `--device auto` takes: no GPU found\n",
    };
    out
}

fn to_json(found: &[Adapter]) -> Value {
    let mut devices: Vec<Value> = found
        .iter()
        .map(|a| {
            json!({
                "device": a.index.to_string(),
                "name": a.name,
                "backend": a.backend,
                "kind": a.kind.to_string(),
                "software": a.is_software(),
                "driver": a.driver,
                "max_buffer_bytes": a.max_buffer_bytes,
                "max_tensor_bytes": a.max_binding_bytes,
                "max_invocations": a.max_invocations,
                "max_workgroup_bytes": a.max_workgroup_bytes,
            })
        })
        .collect();
    devices.push(json!({
        "device": "cpu",
        "name": "CPU",
        "kind": "processor",
        "cores": cores(),
        "simd": simd(),
    }));
    let auto = auto_adapter(found).map_or("cpu".to_owned(), |a| a.index.to_string());
    json!({ "auto": auto, "devices": devices })
}

/// To the nearest KiB, MiB or GiB: drivers give 2 GiB less one byte.
fn bytes(n: u64) -> String {
    let round = |shift: u32| n.saturating_add(1 << (shift - 1)) >> shift;
    match n {
        0..0x10_0000 => format!("{} KiB", round(10)),
        0x10_0000..0x4000_0000 => format!("{} MiB", round(20)),
        _ => format!("{} GiB", round(30)),
    }
}

fn cpu() -> String {
    let simd = simd();
    format!(
        "{} core{}, {}",
        cores(),
        if cores() == 1 { "" } else { "s" },
        if simd.is_empty() {
            std::env::consts::ARCH.to_owned()
        } else {
            format!("{} with {}", std::env::consts::ARCH, simd.join(", "))
        }
    )
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Vector extensions that the CPU path can use.
fn simd() -> Vec<&'static str> {
    #[allow(unused_mut)]
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let tests = [
            ("SSE4.2", std::arch::is_x86_feature_detected!("sse4.2")),
            ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
            ("FMA", std::arch::is_x86_feature_detected!("fma")),
            ("AVX-512", std::arch::is_x86_feature_detected!("avx512f")),
        ];
        found.extend(tests.iter().filter(|(_, has)| *has).map(|(name, _)| *name));
    }
    #[cfg(target_arch = "aarch64")]
    found.push("NEON");
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    found.push("SIMD128");
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_agree() {
        let found = pollster::block_on(adapters());
        let (text, json) = (to_text(&found), to_json(&found));
        let devices = json["devices"].as_array().unwrap();
        assert_eq!(devices.len(), found.len() + 1);
        let auto = json["auto"].as_str().unwrap();
        let marked: Vec<&str> = text.lines().filter(|l| l.starts_with("* ")).collect();
        // the device, and the line that explains the star
        assert_eq!(marked.len(), 2);
        assert_eq!(marked[0].split_whitespace().nth(1), Some(auto));
        for device in devices {
            assert!(text.contains(device["kind"].as_str().unwrap()));
            if device["software"] == true {
                assert_ne!(device["device"], auto);
            }
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes(16_384), "16 KiB");
        assert_eq!(bytes(134_217_728), "128 MiB");
        assert_eq!(bytes(0x7fff_ffff), "2 GiB");
    }
}
