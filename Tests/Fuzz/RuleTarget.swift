import Credentials
import Text

extension FuzzTarget {
  /// New passwords, next to the user's other data: the rules answer, in time, and alike for the same input.
  static let rules = FuzzTarget("rules") { bytes in
    let parts = bytes.text.split(separator: "\n", maxSplits: 4, omittingEmptySubsequences: false).map(String.init)
    let (password, names) = (parts[0], parts.dropFirst() + Array(repeating: "", count: 4))
    let user = UserAttributes(username: names[1], firstName: names[2], lastName: names[3], email: names[4])
    for validator in validators {
      let error = validator.validate(password, user: user)
      try expect(error == validator.validate(password, user: user), "a rule gives the same answer twice")
      try expect(error?.message.contains("{") != true, "a message has no placeholder: \(error?.message ?? "")")
    }
    try expect(password.stripped.stripped.isIdentical(to: password.stripped), "stripping twice changes nothing")
    try expect(password.nfkc.caselessKey == password.caselessKey || password.utf8.contains { $0 >= 0x80 }, "a key does not depend on the spelling")
  }

  private static let validators: [any PasswordValidator] =
    defaultPasswordValidators() + [ContextWordsValidator(words: ["example", "Straße", "ﬁsh", "a"]), MaximumBytesValidator(maximum: 72)]
}
