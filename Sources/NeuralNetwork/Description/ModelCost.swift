extension ModelDescription {
    /// Numbers that the layers write for one example: with ``multiplyAdds`` what an estimate of time needs.
    public var activationsPerExample: Double { resolved.reduce(0) { $0 + $1.activations } }

    /// Numbers that the largest layer reads and writes for one example.
    var largestLayer: Double { resolved.map(\.largest).max() ?? 1 }
}

extension ResolvedLayer {
    fileprivate var largest: Double {
        branches.reduce((input + output).isEmpty ? 1 : Self.count(input) + Self.count(output)) {
            max($0, $1.map(\.largest).max() ?? 0)
        }
    }

    private static func count(_ shape: [Int]) -> Double { shape.reduce(1) { $0 * Double($1) } }

    fileprivate var activations: Double {
        branches.reduce(output.reduce(1) { $0 * Double($1) }) { $0 + $1.reduce(0) { $0 + $1.activations } }
    }
}

/// A layer as a table of a model shows it.
public struct LayerRow: Sendable, Codable, Equatable {
    /// The number, or the path of a layer within another: `3`, `3.layers.0`.
    public var name: String
    public var type: String
    /// Of one example.
    public var output: [Int]
    /// Numbers in its own parameters, without those of layers within it.
    public var parameters: Int
    /// Of one example's forward pass, without those of layers within it.
    public var multiplyAdds: Int

    enum CodingKeys: String, CodingKey {
        case name, type, output, parameters
        case multiplyAdds = "multiply_adds"
    }
}

extension ModelDescription {
    /// All layers, those within others behind them.
    public var rows: [LayerRow] { resolved.flatMap(\.rows) }
}

extension ResolvedLayer {
    fileprivate var rows: [LayerRow] {
        [
            LayerRow(
                name: name, type: layer.type, output: output,
                parameters: ownParameters.reduce(0) { $0 + $1.count }, multiplyAdds: layer.definition.multiplyAdds(self)
            )
        ] + branches.flatMap { $0.flatMap(\.rows) }
    }
}
