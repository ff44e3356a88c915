/// Where the hash that is searched is, compared with a block of a sorted file.
enum BlockVerdict {
  /// The block contains the hash.
  case found
  /// The block has the place of the hash, which is not there.
  case absent
  /// The hash is before the block, whose first entry has the value `first` and begins at `position`.
  case before(first: UInt64, position: Int)
  /// The hash is after the block, whose last entry has the value `last`, and after which the next entry begins at `position`.
  case after(last: UInt64, position: Int)
}

/// Searches a sorted file for a hash, block by block.
///
/// Hashes are evenly distributed, so every other step looks where the hash should be. The steps between them halve the rest, so that the search ends
/// soon in any file.
/// - Parameters:
///   - value: The value of the hash by which its place is estimated.
///   - values: The values that the entries in `positions` can have.
///   - positions: The part of the file to search.
///   - blockSize: How many positions are read at once.
///   - look: Compares the hash with the entries that begin in a block.
func search(
  for value: UInt64, among values: ClosedRange<UInt64>, in positions: Range<Int>, blockSize: Int, look: (Range<Int>) throws -> BlockVerdict
) rethrows -> Bool {
  var (positions, lowest, highest, estimates) = (positions, values.lowerBound, values.upperBound, true)
  while !positions.isEmpty {
    let share = estimates && lowest < highest ? Double(value - lowest) / Double(highest - lowest) : 0.5
    estimates.toggle()
    let place = positions.lowerBound + Int(Double(positions.count) * min(share, 1))
    let start = max(positions.lowerBound, min(place - blockSize / 2, positions.upperBound - blockSize))
    switch try look(start..<min(start + blockSize, positions.upperBound)) {
    case .found: return true
    case .absent: return false
    case .before(let first, let position):
      highest = first
      positions = positions.lowerBound..<max(positions.lowerBound, position)
    case .after(let last, let position):
      lowest = last
      positions = min(position, positions.upperBound)..<positions.upperBound
    }
  }
  return false
}
