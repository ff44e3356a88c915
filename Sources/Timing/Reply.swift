import Foundation

/// What there is of a reply of HTTP/1.1.
struct Reply {
  let status: Int
  /// Of all of it, in bytes.
  let length: Int
  /// Whether it is the connection's last.
  let closes: Bool
  let isWhole: Bool

  /// Nil while its head is not whole.
  init?(_ bytes: ArraySlice<UInt8>) {
    let text = String(decoding: bytes, as: UTF8.self)
    guard let end = text.range(of: "\r\n\r\n") else { return nil }
    let lines = text[..<end.lowerBound].components(separatedBy: "\r\n").map { $0.lowercased() }
    status = lines[0].split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    closes = lines.contains("connection: close")
    let body = lines.first { $0.hasPrefix("content-length: ") }.flatMap { Int($0.dropFirst("content-length: ".count)) } ?? 0
    length = text[..<end.upperBound].utf8.count + body
    isWhole = bytes.count >= length
  }
}
