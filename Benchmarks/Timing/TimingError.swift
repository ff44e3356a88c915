/// The reason why nothing was measured.
struct TimingError: Error, CustomStringConvertible {
  let description: String
}
