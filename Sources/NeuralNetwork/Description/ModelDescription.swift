import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What a model is: its input, its layers and its loss. The same keys in JSON and YAML:
///
///     input: {shape: [1, 28, 28], divide_by: 255}
///     layers:
///       - {type: flatten}
///       - {type: linear, out_features: 10}
///     loss: cross_entropy
///
/// Where the input is text, `input: {shape: [64], tokens: 65}`: ids of 64 tokens out of 65.
///
/// A description that exists is valid: every shape fits, all sizes are bounded. Mistakes are ``DeMLError``s with the
/// layer's number as place; a decoder may wrap them, see ``Tensors/DeMLError/init(decoding:of:)``.
public struct ModelDescription: Sendable, Equatable {
    /// The examples as they are stored, and how they are normalised.
    public struct Input: Sendable, Equatable {
        /// One example: [features], [channels, height, width], or [length] of tokens.
        public var shape: [Int]
        /// The numbers are ids of tokens, 0 ..< tokens, and are not normalised; nil: they are measurements.
        public var tokens: Int?
        /// x is divided by this first.
        public var divideBy: Double
        /// Subtracted then; nothing, one value, or one for each entry of the first dimension (the channel).
        public var mean: [Double]
        /// Divides then; as many values as `mean` permits.
        public var standardDeviation: [Double]

        public init(
            shape: [Int], tokens: Int? = nil, divideBy: Double = 1, mean: [Double] = [],
            standardDeviation: [Double] = []
        ) {
            self.shape = shape
            self.tokens = tokens
            self.divideBy = divideBy
            self.mean = mean
            self.standardDeviation = standardDeviation
        }
    }

    public let input: Input
    /// Counted from 0, as nn.Sequential counts.
    public let layers: [Layer]
    public let loss: Loss
    /// The layers with the shapes and parameters that follow.
    let resolved: [ResolvedLayer]
    /// Every parameter, in the order of torch's `state_dict()`.
    public let parameters: [ParameterDescription]

    public init(input: Input, layers: [Layer], loss: Loss) throws(DeMLError) {
        try Self.check(input)
        guard !layers.isEmpty else { throw DeMLError(.missing, "the model has no layers") }
        guard layers.count <= Self.maximumLayers else {
            throw DeMLError(.tooLarge, "the model has \(layers.count) layers, more than \(Self.maximumLayers)")
        }
        self.input = input
        self.layers = layers
        self.loss = loss
        try loss.validate()
        resolved = try LayerPlace.resolve(layers, input: input, loss: loss)
        parameters = resolved.flatMap(\.parameters)
        let output = resolved[resolved.count - 1].output
        if loss == .crossEntropy, output.count > 2 || output[output.count - 1] < 2 {
            throw DeMLError(
                .shape,
                "cross_entropy needs an output of shape [classes] or [tokens, classes], 2 classes or more, but the last layer gives \(output)",
                place: "layer \(layers.count - 1)")
        }
    }

    public var inputShape: [Int] { input.shape }
    /// The shape of one prediction.
    public var outputShape: [Int] { resolved[resolved.count - 1].output }
    /// Classes of a classifier: the last of its output's sizes.
    public var classes: Int { outputShape[outputShape.count - 1] }
    /// Whether each example has a label for each of its tokens, not one for all: outputs [tokens, classes], labels
    /// `[N, tokens]`, of which those that are ``ignoredLabel`` do not count.
    public var labelsTokens: Bool { loss == .crossEntropy && outputShape.count > 1 }
    /// Labels of an example of a classifier.
    public var labelsPerExample: Int { labelsTokens ? outputShape[0] : 1 }
    /// torch's `ignore_index`.
    public static let ignoredLabel = -100
    /// Numbers in all parameters together.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }
    /// The work of one example's forward pass: multiply-adds of products, windows and sums; a layer without any counts one
    /// for each number it gives. Training takes about three times as many.
    public var multiplyAdds: Int { resolved.reduce(0) { $0 + $1.multiplyAdds } }

    /// The fewest examples of a batch that it can be trained on: 2 where batch_norm has one number an example.
    package var leastBatch: Int { resolved.map(\.leastExamples).max() ?? 1 }
    /// Where among all numbers of the parameters those are that no optimiser changes.
    package var buffers: [Range<Int>] { ranges { $0.isBuffer } }
    /// Where those of batch_norm are, its statistics among them.
    package var batchNorms: [Range<Int>] {
        let names = Set(resolved.flatMap(\.batchNormNames))
        return ranges { names.contains($0.name) }
    }

    private func ranges(_ isWanted: (ParameterDescription) -> Bool) -> [Range<Int>] {
        var start = 0
        return parameters.compactMap { parameter in
            defer { start += parameter.count }
            return isWanted(parameter) ? start..<start + parameter.count : nil
        }
    }

    static let maximumLayers = 1000
    /// Ids of tokens are kept as single-precision numbers, which are exact up to here.
    static let maximumTokens = 1 << 24

    private static func check(_ input: Input) throws(DeMLError) {
        let place = "input"
        guard (1...4).contains(input.shape.count), input.shape.allSatisfy({ $0 > 0 }),
            let count = elementCount(of: input.shape), count <= ModelSize.maximumActivations
        else {
            throw DeMLError(
                .shape, "the input shape \(input.shape) is not one to four positive sizes of a reasonable product",
                place: place)
        }
        if let tokens = input.tokens {
            guard (2...maximumTokens).contains(tokens) else {
                throw DeMLError(.outOfRange, "tokens \(tokens) is not between 2 and \(maximumTokens)", place: place)
            }
            guard input.shape.count == 1 else {
                throw DeMLError(.shape, "an input of tokens has the shape [length], not \(input.shape)", place: place)
            }
            guard input.divideBy == 1, input.mean.isEmpty, input.standardDeviation.isEmpty else {
                throw DeMLError(.usage, "divide_by, mean and std are for measurements, not for tokens", place: place)
            }
        }
        guard input.divideBy.isFinite, input.divideBy != 0 else {
            throw DeMLError(.outOfRange, "divide_by \(input.divideBy) is not a number to divide by", place: place)
        }
        for (name, values) in [("mean", input.mean), ("std", input.standardDeviation)] {
            guard values.count <= 1 || values.count == input.shape[0] else {
                throw DeMLError(
                    .shape, "\(name) has \(values.count) values for the input shape \(input.shape)", place: place,
                    hint: "one value, or one for each of the \(input.shape[0]) channels")
            }
            guard values.allSatisfy(\.isFinite), name == "mean" || values.allSatisfy({ $0 > 0 }) else {
                throw DeMLError(.outOfRange, "\(name) \(values) has a value out of range", place: place)
            }
        }
    }
}

// MARK: - JSON and YAML

extension ModelDescription: Codable {
    public init(from decoder: any Decoder) throws {
        let keys = try StrictContainer(decoder, "the model", keys: ["input", "layers", "loss"])
        let loss = try keys.required("loss", Loss.self)
        try self.init(
            input: try keys.required("input", Input.self), layers: try keys.required("layers", [Layer].self),
            loss: loss)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encode(input, forKey: TextKey("input"))
        try container.encode(layers, forKey: TextKey("layers"))
        try container.encode(loss, forKey: TextKey("loss"))
    }

    /// Reads the JSON text of a description. Throws a ``Tensors/DeMLError`` that names the layer.
    public init(json: String) throws(DeMLError) {
        guard json.utf8.count <= 1 << 20 else {
            throw DeMLError(.tooLarge, "the model description has \(json.utf8.count) bytes, more than 1 MiB")
        }
        do {
            self = try JSONDecoder().decode(ModelDescription.self, from: Data(json.utf8))
        } catch {
            throw DeMLError(decoding: error, of: "the model description")
        }
    }

    /// The one JSON text of this description: sorted keys, no white space, defaults left out.
    public var canonicalJSON: String { NeuralNetwork.canonicalJSON(self) }
}

extension ModelDescription.Input: Codable {
    public init(from decoder: any Decoder) throws {
        let keys = try StrictContainer(decoder, "the input", keys: ["shape", "tokens", "divide_by", "mean", "std"])
        self.init(
            shape: try keys.required("shape", NumberList<Int>.self).values,
            tokens: try keys.optional("tokens", Int.self),
            divideBy: try keys.optional("divide_by", Double.self) ?? 1,
            mean: try keys.optional("mean", NumberList<Double>.self)?.values ?? [],
            standardDeviation: try keys.optional("std", NumberList<Double>.self)?.values ?? [])
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encode(shape, forKey: TextKey("shape"))
        try container.encodeIfPresent(tokens, forKey: TextKey("tokens"))
        if divideBy != 1 { try container.encode(divideBy, forKey: TextKey("divide_by")) }
        if !mean.isEmpty { try container.encode(mean, forKey: TextKey("mean")) }
        if !standardDeviation.isEmpty { try container.encode(standardDeviation, forKey: TextKey("std")) }
    }
}
