extension StringProtocol where SubSequence == Substring {
  /// The text without the spaces and tabs around it, as HTTP trims a field value.
  package var trimmed: Substring {
    var bytes = Substring(self).utf8
    while let byte = bytes.first, byte == 0x20 || byte == 0x09 { bytes.removeFirst() }
    while let byte = bytes.last, byte == 0x20 || byte == 0x09 { bytes.removeLast() }
    return Substring(bytes)
  }
}
