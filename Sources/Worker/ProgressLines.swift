/// The lines that a watching parent reads on a worker's stdout, and nothing else is printed there:
///
///     epoch 1/5 loss 0.293123 accuracy 0.912300 samples_per_second 41234
///     delta_sha256 <64 hexadecimal digits>
///
/// Words and values, separated by one space, flushed line by line. A regression has no `accuracy`. A Golem guest loses
/// output beyond 4096 bytes, so of many epochs only every n-th is told, at most about 40, and always the last.
public struct ProgressLines: Sendable {
    static let maximumEpochs = 40

    public init() {}

    /// The line for what happened, without its newline; nil when this epoch is not told.
    public func line(_ progress: TaskProgress) -> String? {
        switch progress {
        case .epoch(let number, let count, let loss, let accuracy, let rate):
            let step = max(1, (count + Self.maximumEpochs - 1) / Self.maximumEpochs)
            guard number == count || number.isMultiple(of: step) else { return nil }
            var line = "epoch \(number)/\(count) loss \(decimal(loss, places: 6))"
            if let accuracy { line += " accuracy \(decimal(accuracy, places: 6))" }
            return line + " samples_per_second \(decimal(rate, places: 0))"
        case .delta(let sha256):
            return "delta_sha256 \(sha256)"
        }
    }
}

/// A number with a fixed number of decimal places; one too large for that as Swift writes it.
func decimal(_ value: Double, places: Int) -> String {
    guard value.isFinite, abs(value) < 1e9 else { return "\(value)" }
    var unit = 1.0
    for _ in 0..<places { unit *= 10 }
    let scaled = Int((abs(value) * unit).rounded())
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard places > 0 else { return "\(sign)\(scaled)" }
    let whole = scaled / Int(unit)
    let fraction = String(scaled % Int(unit))
    return "\(sign)\(whole)." + String(repeating: "0", count: places - fraction.utf8.count) + fraction
}
