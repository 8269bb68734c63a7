/// One layer of a model as a person looks at it.
public struct LayerRow: Sendable, Equatable, Encodable {
    /// The number, or the path of a layer within another: `3`, `3.layers.0`.
    public var name: String
    /// The name in a model description.
    public var type: String
    /// How many layers it is within.
    public var depth: Int
    /// Shapes of one example, without the batch.
    public var input: [Int]
    public var output: [Int]
    /// Numbers in its own parameters, without those of layers within it.
    public var parameters: Int
    /// Of one example's forward pass, of the layer itself.
    public var multiplyAdds: Int

    enum CodingKeys: String, CodingKey {
        case name, type, depth, input, output, parameters
        case multiplyAdds = "multiply_adds"
    }
}

extension ModelDescription {
    /// A row a layer, those within another right behind it, in the order of `state_dict()`.
    public var layerTable: [LayerRow] { Self.rows(of: resolved, depth: 0) }

    private static func rows(of layers: [ResolvedLayer], depth: Int) -> [LayerRow] {
        layers.flatMap { resolved in
            [
                LayerRow(
                    name: resolved.name, type: resolved.layer.type, depth: depth, input: resolved.input,
                    output: resolved.output, parameters: resolved.ownParameters.reduce(0) { $0 + $1.count },
                    multiplyAdds: resolved.layer.definition.multiplyAdds(resolved))
            ] + resolved.branches.flatMap { rows(of: $0, depth: depth + 1) }
        }
    }

    /// What kind of network it is, in a word or two: for titles.
    public var kindName: String {
        let types = Set(layerTable.map(\.type))
        if types.contains("conv2d") || types.contains("conv1d") { return "CNN" }
        if types.contains(where: { $0.contains("attention") || $0 == "transformer" }) { return "transformer" }
        if types.contains(where: { ["lstm", "gru", "rnn"].contains($0) }) { return "recurrent network" }
        let linear = layerTable.count { $0.type == "linear" }
        return linear == 1 ? "linear model" : linear == 0 ? "model" : "MLP"
    }
}
