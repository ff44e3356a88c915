extension SettingName {
  /// Returns the variables in `environment` that are one typo away from a setting and have no effect, each with that setting.
  static func similarNames(in environment: [String: String]) -> [(variable: String, setting: String)] {
    let others = environment.filter { name, value in
      !value.isEmpty && !variables.contains(name) && !ofDjango.contains(name) && !notTypos.contains(name)
    }
    return others.keys.sorted().compactMap { name in
      let letters = Array(name.uppercased().utf8)
      return variables.sorted().first { isOneEdit(letters, Array($0.utf8)) }.map { (name, $0) }
    }
  }

  /// Variables of other programs that resemble a setting by chance.
  private static let notTypos: Set = ["HTTP_POST", "HTTPS_PORT", "HTTPS_HOST"]

  /// Whether two names are equal, or differ by one character that was left out, added or replaced, or by two that were swapped.
  private static func isOneEdit(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    guard abs(a.count - b.count) <= 1 else { return false }
    let start = zip(a, b).prefix { $0 == $1 }.count
    let (restA, restB) = (a[start...], b[start...])
    if restA.isEmpty && restB.isEmpty { return true }
    if restA.dropFirst() == restB || restA == restB.dropFirst() || restA.dropFirst() == restB.dropFirst() { return true }
    return a.count == b.count && restA.count > 1 && restA.dropFirst(2) == restB.dropFirst(2)
      && restA.prefix(2).elementsEqual(restB.prefix(2).reversed())
  }
}
