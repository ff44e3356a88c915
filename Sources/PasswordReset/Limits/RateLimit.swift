/// A limit of `count` events in any period of `seconds`.
public struct RateLimit: Sendable, Equatable {
  /// The number of events that are allowed in a period.
  public var count: Int
  /// The length of the period.
  public var seconds: Int

  /// Creates a limit.
  public init(count: Int, seconds: Int) {
    self.count = count
    self.seconds = seconds
  }

  /// Returns the limits in a text such as `1/m,5/h`, no limit for `off`, or `nil` for any other text.
  ///
  /// Each limit is a count and one of the units `s`, `m`, `h` and `d`. No unit may occur twice.
  public static func parse(_ text: String) -> [RateLimit]? {
    if text == "off" { return [] }
    let units = ["s": 1, "m": 60, "h": 3600, "d": 86400]
    var limits: [RateLimit] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let match = part.wholeMatch(of: #/ *([0-9]+)/([smhd]) */#), let count = Int(match.1), (1...1_000_000).contains(count),
        let seconds = units[String(match.2)]
      else { return nil }
      limits.append(RateLimit(count: count, seconds: seconds))
    }
    return Set(limits.map(\.seconds)).count == limits.count ? limits : nil
  }
}
