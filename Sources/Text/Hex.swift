/// Returns the bytes as lowercase hexadecimal, two digits per byte.
package func hexadecimal(_ bytes: [UInt8]) -> String {
  String(unsafeUninitializedCapacity: 2 * bytes.count) { text in
    for (index, byte) in bytes.enumerated() {
      text[2 * index] = hexDigit(byte >> 4)
      text[2 * index + 1] = hexDigit(byte & 15)
    }
    return 2 * bytes.count
  }
}

/// Returns the ASCII code of the hexadecimal digit for `half`, which must be below 16.
package func hexDigit(_ half: UInt8) -> UInt8 { half < 10 ? UInt8(ascii: "0") + half : UInt8(ascii: "a") + half - 10 }
