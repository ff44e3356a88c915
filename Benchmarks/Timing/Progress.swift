import Foundation

/// Shows the progress of a run on a terminal.
struct Progress {
  static let cores = ProcessInfo.processInfo.activeProcessorCount

  private let isShown = isatty(STDERR_FILENO) == 1

  func show(_ name: String, _ pairs: Int) {
    guard isShown, pairs.isMultiple(of: 500) else { return }
    write("\r\u{1B}[K\(name): \(pairs) pairs")
  }

  func clear() { if isShown { write("\r\u{1B}[K") } }

  private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
