//! What one execution needs: a window, the VM block, trap recovery. Route programs have one, plugins' calls one each.

use super::abi;
use super::helpers::{Run, Vm};
use super::image::{DetachedCode, Image, ImageCode};
use super::run::{Outcome, Trap};
use super::trap::{self, Recovery};
use super::window::Window;
use crate::exchange::Exchange;
use crate::protocol::Exposure;
use std::io;
use std::ptr;

pub(super) struct Cage {
    pub window: Box<Window>,
    pub vm: Box<Vm>,
    recovery: Box<Recovery>,
}

// SAFETY: no pointer in it is followed but during `enter`, on the thread that calls it.
unsafe impl Send for Cage {}

impl Cage {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            window: Box::new(Window::new()?),
            vm: Box::new(Vm::new()),
            recovery: Box::new(Recovery::new()),
        })
    }

    pub fn write_context(&mut self, exchange: &Exchange, entry: u32) {
        let window = &mut self.window;
        window.write_u32(abi::FIELD_ABI, abi::ABI_VERSION as u32);
        window.write_u32(abi::FIELD_ENTRY, entry);
        window.write_u32(abi::FIELD_METHOD, method_number(&exchange.method));
        window.write_u32(abi::FIELD_SCHEME, u32::from(exchange.tls.is_some()));
        window.write_u32(abi::FIELD_PATH, abi::CONTEXT as u32 + abi::FIELD_PATH_BYTES as u32);
        let status = if exchange.held_status == 0 { exchange.status } else { exchange.held_status };
        window.write_u32(abi::FIELD_STATUS, u32::from(status));
        window.write_u32(abi::FIELD_RESUME_RESULT, exchange.resume_result);
        window.write_path(exchange.matched_path());
    }

    /// Runs code that is proven to be detached: nobody needs to know whose run it is, nor to ask afterwards how it ended.
    #[inline(always)]
    pub fn call_detached(&mut self, code: &DetachedCode, constants: &[u8], entry: u32) -> u64 {
        // SAFETY: the image was checked when it was loaded and is held by the caller for the call; the store has checked
        // that the constants are as long as verified. The code neither faults nor reads the VM block, as was proven.
        unsafe { trap::call(self.window.base(), ptr::null_mut(), constants.as_ptr(), entry, code.entry()) }
    }

    /// Runs an image with the context as it is in the window. `constants` are as long as it was verified to read.
    ///
    /// Inlined, so that `run` lies in registers: written by halves and read whole, it cost more than all the rest.
    #[inline(always)]
    pub fn enter(&mut self, image: &Image, run: Run<'_>, entry: u32) -> Result<Outcome, Trap> {
        let Self { window, vm, recovery } = self;
        let constants = run.constants.as_ptr();
        vm.begin(window, run);
        let result = match &image.code {
            ImageCode::Native(mapping) => {
                let block = std::ptr::from_mut::<Vm>(vm).cast();
                // SAFETY: the image was checked when it was loaded and is held by the caller for the call; the VM block
                // is laid out as the ABI says; the store has checked that the constants are as long as verified. Only
                // what the verifier has proven to touch mapped bytes alone runs without recovery.
                unsafe {
                    if mapping.exposure() == Exposure::Caged {
                        window.expect_context_writes();
                        recovery
                            .enter(window, block, constants, entry, mapping.entry(), mapping.range())
                            .map_err(|address| Trap::Memory { address })
                    } else {
                        Ok(trap::call(window.base(), block, constants, entry, mapping.entry()))
                    }
                }
            }
            ImageCode::Interpreted(code) => code.run(vm, entry),
            ImageCode::Nothing => Ok(abi::ACTION_NOT_FOUND),
        };
        let (fuel_left, refused) = vm.end();
        if let Some((number, reason)) = refused {
            return Err(Trap::Helper { number, reason });
        }
        let result = result?;
        if fuel_left < 0 {
            return Err(Trap::Fuel);
        }
        Ok(Outcome { result, fuel_left })
    }
}

fn method_number(method: &[u8]) -> u32 {
    let number = match method {
        b"GET" => abi::METHOD_GET,
        b"HEAD" => abi::METHOD_HEAD,
        b"POST" => abi::METHOD_POST,
        b"PUT" => abi::METHOD_PUT,
        b"DELETE" => abi::METHOD_DELETE,
        b"CONNECT" => abi::METHOD_CONNECT,
        b"OPTIONS" => abi::METHOD_OPTIONS,
        b"TRACE" => abi::METHOD_TRACE,
        b"PATCH" => abi::METHOD_PATCH,
        _ => abi::METHOD_OTHER,
    };
    number as u32
}
