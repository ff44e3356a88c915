import Foundation

/// Where a run stands, for somebody who watches it on a terminal.
struct Progress {
  static let cores = ProcessInfo.processInfo.activeProcessorCount

  private let isShown = isatty(STDERR_FILENO) == 1

  func show(_ what: String, _ pairs: Int) {
    guard isShown, pairs.isMultiple(of: 500) else { return }
    write("\r\u{1B}[K\(what): \(pairs) pairs")
  }

  func clear() { if isShown { write("\r\u{1B}[K") } }

  private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
