import PasswordReset

/// The name in the greeting of an email.
///
/// A stranger can register a name such as `www.evil.example` with another person's address. Mail programs turn such text into a
/// link, so a zero-width space follows every character that makes an address out of words.
enum DisplayName {
  /// The dots of domain names (RFC 3490 section 3.1), and the other separators of URLs and addresses.
  private static let separators: Set<Unicode.Scalar> = [".", "\u{3002}", "\u{FF0E}", "\u{FF61}", "\u{2024}", ":", "/", "\\", "@"]

  /// Returns the user name, or the address in a table without user names. A mail program cannot turn it into a link unless it
  /// is the user's own address.
  ///
  /// A first name does not replace a user name, because it may be any sentence that a stranger wants the user to read.
  static func of(_ user: User) -> String {
    let name = user.username.isEmpty ? user.email : user.username
    guard name.unicodeScalars.contains(where: separators.contains), name.lowercased() != user.email.lowercased() else { return name }
    var broken = String.UnicodeScalarView()
    for scalar in name.unicodeScalars {
      broken.append(scalar)
      if separators.contains(scalar) { broken.append("\u{200B}") }
    }
    return String(broken)
  }
}
