import Foundation

/// Text operations that behave as in Python, where Swift differs and Django's rules depend on the difference.
///
/// Swift compares strings by canonical equivalence and Python by code point, so a comparison that Django makes must use
/// ``isIdentical(to:)``.
extension String {
  /// Returns whether both strings have the same code points, as Python's `==` does.
  package func isIdentical(to other: String) -> Bool { utf8.elementsEqual(other.utf8) }

  /// The string without white space at both ends, as by Python's `str.strip()`.
  package var stripped: String {
    let scalars = unicodeScalars
    guard let first = scalars.firstIndex(where: { !$0.isPythonSpace }), let last = scalars.lastIndex(where: { !$0.isPythonSpace }) else { return "" }
    return String(scalars[first...last])
  }

  /// The string in lowercase, as by Python's `str.lower()`, which writes a final sigma where `lowercased()` does not.
  package var pythonLowercased: String {
    let scalars = Array(unicodeScalars)
    var result = ""
    for (index, scalar) in scalars.enumerated() {
      result += scalar == "Σ" && scalars.isFinal(at: index) ? "ς" : scalar.properties.lowercaseMapping
    }
    return result
  }

  /// A key that is equal for two strings exactly when Django's `_unicode_ci_compare` considers them equal.
  ///
  /// Django compares `unicodedata.normalize("NFKC", s).casefold()`, so that an address in another spelling finds its
  /// account and a look-alike does not (CVE-2019-19844).
  package var caselessKey: [UInt8] {
    // Most addresses are ASCII, for which the rest of this function amounts to this.
    if utf8.allSatisfy({ $0 < 0x80 }) { return utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 } }
    var folded = ""
    for scalar in precomposedStringWithCompatibilityMapping.unicodeScalars {
      switch scalar {
      case "ı": folded += "ı"  // Its uppercase form is the ordinary I, which would make it equal to i.
      case "ẞ": folded += "ss"
      default:
        for upper in scalar.properties.uppercaseMapping.unicodeScalars { folded += upper.properties.lowercaseMapping }
      }
    }
    return Array(folded.utf8)
  }

  /// The string in Unicode's NFKC form, in which Django stores user names.
  package var nfkc: String { precomposedStringWithCompatibilityMapping }
}

extension Unicode.Scalar {
  /// Whether Python's `str.isspace()` is true: for white space and the four ASCII separators.
  fileprivate var isPythonSpace: Bool { properties.isWhitespace || (0x1C...0x1F).contains(value) }

  /// Whether `\w` in Python's `re` matches: a letter, a numeric character or an underscore, but no combining mark.
  package var isPythonWord: Bool {
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: properties.numericType != nil || self == "_"
    }
  }

  /// Whether Python's `str.isdigit()` is true for this character.
  package var isPythonDigit: Bool { properties.numericType == .decimal || properties.numericType == .digit }
}

extension [Unicode.Scalar] {
  /// Returns whether Unicode's condition Final_Sigma holds: a cased letter precedes and none follows, skipping
  /// case-ignorable characters.
  fileprivate func isFinal(at index: Int) -> Bool {
    let before = self[..<index].last { !$0.properties.isCaseIgnorable }
    let after = self[(index + 1)...].first { !$0.properties.isCaseIgnorable }
    return before?.properties.isCased == true && after?.properties.isCased != true
  }
}
