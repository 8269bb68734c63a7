import Foundation
import NeuralNetwork
import Tensors

/// A model description in which the input's shape, the outputs of the last linear layer or the loss are left out, because
/// the data says them:
///
///     layers: [{type: linear, out_features: 32}, {type: relu}, {type: linear}]
public struct ModelOutline: Sendable, Equatable, Codable {
    private var tree: [String: JSONTree]

    public init(from decoder: any Decoder) throws {
        tree = try decoder.singleValueContainer().decode([String: JSONTree].self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(tree)
    }

    private var layers: [JSONTree] {
        if case .list(let layers)? = tree["layers"] { layers } else { [] }
    }

    /// The last linear layer, if it leaves its outputs out.
    private var openLayer: Int? {
        guard
            let index = layers.lastIndex(where: { $0["type"] == .text("linear") }),
            layers[index]["out_features"] == nil
        else { return nil }
        return index
    }

    /// Nothing is left out that could be.
    public var isWhole: Bool {
        tree["loss"] != nil && tree["input"]?["shape"] != nil && openLayer == nil && !leavesTokensOut
    }

    private var leavesTokensOut: Bool {
        layers.first?["type"] == .text("embedding") && tree["input"]?["tokens"] == nil
    }

    /// How many tokens the input knows, where it is said.
    public var tokens: Int? {
        if case .integer(let tokens)? = tree["input"]?["tokens"] { tokens } else { nil }
    }

    /// The loss, where it is said.
    public var loss: ModelDescription.Loss? {
        guard let text = tree["loss"], let json = try? JSONEncoder().encode(text) else { return nil }
        return try? JSONDecoder().decode(ModelDescription.Loss.self, from: json)
    }

    /// The shape of the input, where it is said.
    public var inputShape: [Int]? {
        guard case .list(let sizes)? = tree["input"]?["shape"] else { return nil }
        let numbers = sizes.compactMap { if case .integer(let size) = $0 { size } else { nil } }
        return numbers.count == sizes.count ? numbers : nil
    }

    /// The input is scaled by the model itself.
    public var isNormalised: Bool {
        ["divide_by", "mean", "std"].contains { tree["input"]?[$0] != nil }
    }

    /// The description for data of this kind.
    /// - Parameter tokens: that there are, where the data is tokens.
    /// - Throws: what is wrong with the rest.
    public func completed(
        inputShape: [Int], tokens: Int? = nil, outputs: Int, loss: ModelDescription.Loss
    ) throws(DeMLError) -> ModelDescription {
        var tree = tree
        if tree["loss"] == nil { tree["loss"] = .text(loss.name) }
        var input = tree["input"] ?? .mapping([:])
        if input["shape"] == nil { input["shape"] = .list(inputShape.map(JSONTree.integer)) }
        if leavesTokensOut, let tokens { input["tokens"] = .integer(tokens) }
        tree["input"] = input
        if let index = openLayer {
            var layers = layers
            layers[index]["out_features"] = .integer(max(outputs, loss == .crossEntropy ? 2 : 1))
            tree["layers"] = .list(layers)
        }
        let json: Data
        do { json = try JSONEncoder().encode(tree) } catch {
            throw DeMLError(.malformed, "the model cannot be read", cause: error)
        }
        return try ModelDescription(json: String(decoding: json, as: UTF8.self))
    }
}
