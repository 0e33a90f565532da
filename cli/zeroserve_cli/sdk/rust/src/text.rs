//! Text that grows in a buffer. What does not fit is not written and makes it full.

pub struct Text<'a> {
    room: &'a mut [u8],
    length: usize,
    full: bool,
}

impl<'a> Text<'a> {
    pub fn new(room: &'a mut [u8]) -> Self {
        Self { room, length: 0, full: false }
    }

    pub fn put(&mut self, bytes: &[u8]) {
        match self.rest().get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            None => self.full = true,
        }
    }

    /// A number in decimal digits.
    pub fn put_number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            at -= 1;
            if number == 0 {
                break;
            }
        }
        self.put(digits.get(at..).unwrap_or_default());
    }

    /// Where a helper may write; [`Text::grow`] takes the length that it gave.
    pub fn rest(&mut self) -> &mut [u8] {
        self.room.get_mut(self.length..).unwrap_or_default()
    }

    pub fn grow(&mut self, length: u64) {
        let left = (self.room.len() - self.length) as u64;
        if length > left {
            self.full = true;
        } else {
            self.length += length as usize;
        }
    }

    pub fn is_full(&self) -> bool {
        self.full
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.room.get(..self.length).unwrap_or_default()
    }
}
