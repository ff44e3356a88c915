/// Two sides that must not be told apart by the time of their replies.
struct Comparison {
  let name: String
  let first: Side
  let second: Side

  static let all = [
    Comparison(name: "POST: known, unknown", first: .ask(.known), second: .ask(.unknown)),
    Comparison(name: "POST: known, inactive", first: .ask(.known), second: .ask(.inactive)),
    Comparison(name: "POST: known, unusable password", first: .ask(.known), second: .ask(.unusable)),
    Comparison(name: "POST: known, in cooldown", first: .ask(.known), second: .ask(.inCooldown)),
    Comparison(name: "GET: unknown uid, wrong token", first: .check(isKnown: false), second: .check(isKnown: true)),
  ]

  /// Whom its requests ask a mail for.
  var subjects: [Subject] {
    [first, second].compactMap { side in if case .ask(let subject) = side { subject } else { nil } }
  }
}
