package import Foundation

/// Our tables hold times as whole milliseconds since 1970. Both directions clamp, so that a damaged value does not end
/// the process.
extension Date {
  package var milliseconds: Int64 { Int64(min(max((timeIntervalSince1970 * 1000).rounded(.down), -0x1p53), 0x1p53)) }

  /// Creates a date in the years 1 to 9999; formatters give wrong texts for dates outside them.
  package init(milliseconds: Int64) {
    self.init(timeIntervalSince1970: Double(min(max(milliseconds, -62_135_596_800_000), 253_402_300_799_999)) / 1000)
  }
}
