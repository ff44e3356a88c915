package import Foundation

extension Date {
  /// Returns the date in UTC as RFC 3339 text, `2026-11-20T22:09:52Z`, or with milliseconds,
  /// `2026-11-20T22:09:52.123Z`.
  ///
  /// The method calls `gmtime_r` and `strftime`, because every response and log line needs it and Foundation's
  /// formatters are slower.
  package func rfc3339(withMilliseconds: Bool = false) -> String {
    let seconds = timeIntervalSince1970.rounded(.down)
    var time = time_t(min(max(seconds, -62_167_219_200), 253_402_300_799))
    var parts = tm()
    gmtime_r(&time, &parts)
    let text = String(unsafeUninitializedCapacity: 32) { strftime($0.baseAddress, $0.count, "%Y-%m-%dT%H:%M:%S", &parts) }
    guard withMilliseconds else { return text + "Z" }
    let milliseconds = Int((timeIntervalSince1970 - seconds) * 1000)
    return text + (milliseconds < 10 ? ".00" : milliseconds < 100 ? ".0" : ".") + String(milliseconds) + "Z"
  }
}
