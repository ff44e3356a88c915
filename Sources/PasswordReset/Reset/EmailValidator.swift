import Foundation

/// Validates email addresses like Django's `EmailValidator`.
///
/// Code that uses a valid address can rely on it having no line break and no second address, and a space only after a backslash within
/// quotation marks.
public enum EmailValidator {
  /// The longest address of RFC 3696 section 3, as in Django.
  private static let maximumLength = 320

  /// Returns whether Django accepts `address`.
  public static func accepts(_ address: String) -> Bool {
    let scalars = Array(address.unicodeScalars)
    guard scalars.count <= maximumLength, let at = scalars.lastIndex(of: "@") else { return false }
    let local = scalars[..<at]
    return (isDotAtom(local) || isQuotedString(local)) && isDomain(Array(scalars[(at + 1)...]))
  }

  private static func isDotAtom(_ local: ArraySlice<Unicode.Scalar>) -> Bool {
    local.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { atom in
      !atom.isEmpty && atom.allSatisfy { isLetter($0) || isDigit($0) || "-!#$%&'*+/=?^_`{}|~".unicodeScalars.contains($0) }
    }
  }

  /// Returns whether the text is `"…"` without spaces. A backslash may precede any character except NUL, LF and CR.
  private static func isQuotedString(_ local: ArraySlice<Unicode.Scalar>) -> Bool {
    guard local.count >= 2, local.first == "\"", local.last == "\"" else { return false }
    var escaped = false
    for scalar in local.dropFirst().dropLast() {
      guard scalar.isASCII || isLetter(scalar), !["\0", "\n", "\r"].contains(scalar) else { return false }
      if escaped {
        escaped = false
      } else if scalar == "\\" {
        escaped = true
      } else if ["\"", "\t", " "].contains(scalar) {
        return false
      }
    }
    return !escaped
  }

  private static func isDomain(_ domain: [Unicode.Scalar]) -> Bool {
    if domain == Array("localhost".unicodeScalars) || isAddressLiteral(domain) { return true }
    let labels = domain.split(separator: ".", omittingEmptySubsequences: false)
    guard labels.count >= 2, let top = labels.last else { return false }
    return labels.dropLast().allSatisfy(isLabel) && isLabel(top) && isTopLevel(top)
  }

  private static func isLabel(_ label: ArraySlice<Unicode.Scalar>) -> Bool {
    (1...63).contains(label.count) && label.first != "-" && label.last != "-"
      && label.allSatisfy { isLetter($0) || isDigit($0) || isInternational($0) || $0 == "-" }
  }

  /// Returns whether a label has at least two characters and no digits, or is punycode.
  private static func isTopLevel(_ label: ArraySlice<Unicode.Scalar>) -> Bool {
    if label.count >= 2, !label.contains(where: isDigit) { return true }
    let isPunycode = String(String.UnicodeScalarView(label.prefix(4))).lowercased() == "xn--"
    return isPunycode && label.count > 4 && label.dropFirst(4).allSatisfy { isLetter($0) || isDigit($0) }
  }

  /// Returns whether a domain is an address in brackets, such as `[192.0.2.1]` or `[2001:db8::1]`.
  private static func isAddressLiteral(_ domain: [Unicode.Scalar]) -> Bool {
    guard domain.count > 2, domain.first == "[", domain.last == "]" else { return false }
    let inner = domain.dropFirst().dropLast()
    // Django accepts no longer address. The check of the characters keeps out a NUL, at which the C function would
    // stop.
    guard inner.count <= 39, inner.allSatisfy({ $0.properties.isASCIIHexDigit || $0 == ":" || $0 == "." }) else { return false }
    let text = String(String.UnicodeScalarView(inner))
    var buffer = in6_addr()
    return inet_pton(AF_INET, text, &buffer) == 1 || inet_pton(AF_INET6, text, &buffer) == 1
  }

  /// Returns whether `[A-Z]` with Python's `IGNORECASE` matches, which accepts four letters that are not ASCII.
  ///
  /// Such an address can only match an account that was registered with it (CVE-2019-19844).
  private static func isLetter(_ scalar: Unicode.Scalar) -> Bool {
    ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar) || ["ı", "İ", "ſ", "\u{212A}"].contains(scalar)
  }

  private static func isDigit(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }

  private static func isInternational(_ scalar: Unicode.Scalar) -> Bool { ("\u{A1}"..."\u{FFFF}").contains(scalar) }
}
