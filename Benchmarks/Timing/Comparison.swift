/// Two classes of requests whose response times must not differ.
struct Comparison {
  /// The first part of the names of its files.
  let name: String
  let first: RequestClass
  let second: RequestClass

  static let all = [
    Comparison(name: "post-known-unknown", first: .resetRequest(.known), second: .resetRequest(.unknown)),
    Comparison(name: "post-known-inactive", first: .resetRequest(.known), second: .resetRequest(.inactive)),
    Comparison(name: "post-known-unusable", first: .resetRequest(.known), second: .resetRequest(.unusable)),
    Comparison(name: "post-known-cooldown", first: .resetRequest(.known), second: .resetRequest(.inCooldown)),
    Comparison(name: "get-unknown-known", first: .linkCheck(isKnown: false), second: .linkCheck(isKnown: true)),
  ]

  /// The kinds of accounts that its reset requests name.
  var accountKinds: [AccountKind] {
    [first, second].compactMap { requestClass in if case .resetRequest(let kind) = requestClass { kind } else { nil } }
  }

  /// Measures both classes in random order, so that drift and disturbances affect both alike.
  func inRandomOrder<Result>(_ measure: (RequestClass) throws -> Result) rethrows -> (Result, Result) {
    if Bool.random() { return (try measure(first), try measure(second)) }
    let result = try measure(second)
    return (try measure(first), result)
  }
}
