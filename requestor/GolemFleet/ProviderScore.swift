/// In which order offers are tried: by what an hour's work costs, unknown providers first by price alone.
package struct ProviderScore: Sendable {
    package var memory: [String: ProviderMemory.Record]
    /// Multiply-adds a second of a provider nobody has measured: what the known ones reach in the middle.
    package var typicalSpeed: Double?

    package init(_ records: [ProviderMemory.Record]) {
        memory = Dictionary(records.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        let speeds = records.compactMap(\.speed).sorted()
        typicalSpeed = speeds.isEmpty ? nil : speeds[speeds.count / 2]
    }

    /// Smaller is asked first.
    /// - Parameters:
    ///   - price: GLM an hour with all cores busy.
    ///   - failuresInRun: how often this provider failed in the run that asks.
    package func value(provider: String, price: Double, failuresInRun: Int = 0) -> Double {
        let record = memory[provider]
        let speed = record?.speed.flatMap { speed in typicalSpeed.map { speed / $0 } } ?? 1
        // A machine twice as fast is worth twice the price; a floor keeps free offers in the order of their speed.
        var value = (price + 0.01) / max(speed, 0.01)
        value *= 1 + 4 * (record?.failureRate ?? 0)
        if record?.isAskedLast == true || failuresInRun > 0 { value += 1e6 * Double(1 + failuresInRun) }
        return value
    }
}
