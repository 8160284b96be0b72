//! A device that is lost: JavaScript is told, once.

use std::cell::RefCell;

use js_sys::Function;
use smalti::device::wgpu;
use wasm_bindgen::prelude::*;

thread_local! {
    static TELL: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// Who is told, with the reason, when a device of this module is lost. What was on it is gone then, and nothing of this module finds a way
/// back: another instance of it does.
#[wasm_bindgen]
pub fn on_lost(tell: Function) {
    TELL.set(Some(tell));
}

/// Watches a device.
pub fn watch(device: &wgpu::Device) {
    device.set_device_lost_callback(|_, why| {
        if let Some(tell) = TELL.take() {
            // what it throws is JavaScript's
            let _ = tell.call1(&JsValue::NULL, &why.into());
        }
    });
}
