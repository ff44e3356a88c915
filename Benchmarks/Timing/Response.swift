import Foundation

/// The received part of an HTTP/1.1 response.
struct Response {
  let status: Int
  /// The length of head and body together, in bytes.
  let length: Int
  /// Whether the server closes the connection after it.
  let closes: Bool
  let isComplete: Bool

  /// Returns `nil` until the head is complete.
  init?(_ bytes: ArraySlice<UInt8>) {
    let text = String(decoding: bytes, as: UTF8.self)
    guard let end = text.range(of: "\r\n\r\n") else { return nil }
    let lines = text[..<end.lowerBound].components(separatedBy: "\r\n").map { $0.lowercased() }
    status = lines[0].split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    closes = lines.contains("connection: close")
    let body = lines.first { $0.hasPrefix("content-length: ") }.flatMap { Int($0.dropFirst("content-length: ".count)) } ?? 0
    length = text[..<end.upperBound].utf8.count + body
    isComplete = bytes.count >= length
  }
}
