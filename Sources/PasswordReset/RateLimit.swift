/// At most `count` in any `seconds`.
public struct RateLimit: Sendable, Equatable {
  public var count: Int
  public var seconds: Int

  public init(count: Int, seconds: Int) {
    self.count = count
    self.seconds = seconds
  }

  /// Reads `1/m,5/h`: a count and a unit of `s`, `m`, `h` or `d` each, no unit twice; `off` is none. Nil for anything else.
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
