import Foundation

/// Python's reading of text, where Swift's differs and Django's rules depend on it. Swift compares strings by canonical equivalence, Python by
/// code point; equality that Django decides must go through ``isIdentical(to:)``.
extension String {
  /// Python's `==`: the same code points.
  package func isIdentical(to other: String) -> Bool { utf8.elementsEqual(other.utf8) }

  /// Python's `str.strip()`.
  package var stripped: String {
    let scalars = unicodeScalars
    guard let first = scalars.firstIndex(where: { !$0.isPythonSpace }), let last = scalars.lastIndex(where: { !$0.isPythonSpace }) else { return "" }
    return String(scalars[first...last])
  }

  /// Python's `str.lower()`, which, unlike `lowercased()`, knows the final sigma.
  package var pythonLowercased: String {
    let scalars = Array(unicodeScalars)
    var result = ""
    for (index, scalar) in scalars.enumerated() {
      result += scalar == "Σ" && scalars.isFinal(at: index) ? "ς" : scalar.properties.lowercaseMapping
    }
    return result
  }

  /// Equal for two strings exactly when Python's `unicodedata.normalize("NFKC", s).casefold()` is: Django's `_unicode_ci_compare`,
  /// by which an address in another spelling finds its account and a look-alike does not (CVE-2019-19844).
  package var caselessKey: [UInt8] {
    // Most addresses; for ASCII all of the below comes to this.
    if utf8.allSatisfy({ $0 < 0x80 }) { return utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 } }
    var folded = ""
    for scalar in precomposedStringWithCompatibilityMapping.unicodeScalars {
      switch scalar {
      case "ı": folded += "ı"  // Upper-casing would make it the ordinary i.
      case "ẞ": folded += "ss"
      default:
        for upper in scalar.properties.uppercaseMapping.unicodeScalars { folded += upper.properties.lowercaseMapping }
      }
    }
    return Array(folded.utf8)
  }

  /// Python's NFKC form, as Django stores user names.
  package var nfkc: String { precomposedStringWithCompatibilityMapping }
}

extension Unicode.Scalar {
  /// Python's `str.isspace()`: white space and the four separators of ASCII.
  fileprivate var isPythonSpace: Bool { properties.isWhitespace || (0x1C...0x1F).contains(value) }

  /// `\w` of Python's `re`: a letter, anything numeric, or an underscore; marks are not in it.
  package var isPythonWord: Bool {
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: properties.numericType != nil || self == "_"
    }
  }

  /// Python's `str.isdigit()` for one character.
  package var isPythonDigit: Bool { properties.numericType == .decimal || properties.numericType == .digit }
}

extension [Unicode.Scalar] {
  /// Unicode's Final_Sigma: after a cased letter and before none, case-ignorable characters aside.
  fileprivate func isFinal(at index: Int) -> Bool {
    let before = self[..<index].last { !$0.properties.isCaseIgnorable }
    let after = self[(index + 1)...].first { !$0.properties.isCaseIgnorable }
    return before?.properties.isCased == true && after?.properties.isCased != true
  }
}
