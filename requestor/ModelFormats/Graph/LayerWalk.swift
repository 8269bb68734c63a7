import NeuralNetwork
import Tensors

/// A layer of a model with its place, for those who write models: options as the canonical JSON has them (defaults are left
/// out), shapes of one example, and the numbers of its parameters.
struct WalkedLayer {
    /// The number, or the path of a layer within another: `3`, `3.layers.0`.
    let name: String
    let type: String
    let options: JSONTree
    let input: [Int]
    let output: [Int]
    /// By the last parts of their names.
    let parameters: [String: Tensor]
    /// By the key of the option: `layers`, `projection`, `branches`.
    let branches: [String: [[WalkedLayer]]]

    func int(_ key: String) -> Int? { options[key]?.int }
    func double(_ key: String, _ standard: Double) -> Double { options[key]?.double ?? standard }
    func bool(_ key: String, _ standard: Bool) -> Bool { options[key]?.bool ?? standard }

    /// Height and width, or one number for a sequence.
    func sizes(_ key: String, _ standard: Int, count: Int = 2) -> [Int] {
        if let list = options[key]?.ints { return list }
        return [Int](repeating: options[key]?.int ?? standard, count: count)
    }

    /// Of a layer `rescaling`: its numbers, each one for all or one for each channel.
    var rescaling: (scale: [Double], offset: [Double]) {
        func numbers(_ key: String, _ standard: Double) -> [Double] {
            options[key]?.list?.compactMap(\.double) ?? [double(key, standard)]
        }
        return (numbers("scale", 1), numbers("offset", 0))
    }

    /// All layers of a model with their numbers.
    static func walk(_ weights: Weights) throws(DeMLError) -> [WalkedLayer] {
        var tensors: [String: Tensor] = [:]
        for (name, tensor) in weights.safetensors().tensors { tensors[name] = tensor }
        let json = Array(weights.model.canonicalJSON.utf8)
        let tree = try JSONTree(parsing: json[...], of: "the model")
        return try walk(tree["layers"]?.list ?? [], from: weights.model.inputShape, prefix: "", tensors)
    }

    private static func walk(
        _ trees: [JSONTree], from input: [Int], prefix: String, _ tensors: [String: Tensor]
    ) throws(DeMLError) -> [WalkedLayer] {
        var shape = input
        var layers: [WalkedLayer] = []
        for (index, tree) in trees.enumerated() {
            let name = prefix + "\(index)"
            let type = tree["type"]?.text ?? ""
            let output: [Int]
            switch type {
            // What these make depends on more than the layer's own input.
            case "embedding": output = shape + [tree["embedding_dim"]?.int ?? 1]
            case "tied_linear": output = shape.dropLast() + [tensors["0.weight"]?.shape.first ?? 1]
            default: output = try LayerSketch(type, tree.mapping ?? [:]).output(of: shape)
            }
            var branches: [String: [[WalkedLayer]]] = [:]
            for key in ["layers", "projection"] {
                guard let inner = tree[key] else { continue }
                branches[key] = [try walk(inner.list ?? [inner], from: shape, prefix: "\(name).\(key).", tensors)]
            }
            if let list = tree["branches"]?.list {
                var all: [[WalkedLayer]] = []
                for (number, inner) in list.enumerated() {
                    all.append(
                        try walk(inner.list ?? [inner], from: shape, prefix: "\(name).branches.\(number).", tensors))
                }
                branches["branches"] = all
            }
            var parameters: [String: Tensor] = [:]
            for (key, tensor) in tensors where key.hasPrefix(name + ".") {
                let rest = key.dropFirst(name.count + 1)
                let isInner = ["layers.", "projection.", "branches."].contains { rest.hasPrefix($0) }
                if !isInner { parameters[String(rest)] = tensor }
            }
            layers.append(
                WalkedLayer(
                    name: name, type: type, options: tree, input: shape, output: output, parameters: parameters,
                    branches: branches))
            shape = output
        }
        return layers
    }
}
