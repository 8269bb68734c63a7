import Tensors

/// One layer of a model, with torch's names, options and defaults: `.linear(outFeatures: 10)`, `.relu` and so on, each
/// described in its own file in `Layers/`. Shapes are those of one example, without the batch.
///
/// An option that follows from the layer's input (such as `in_features`) may be left out; given, it is checked.
public struct Layer: Sendable, Equatable {
    let definition: any LayerDefinition

    init(_ definition: some LayerDefinition) {
        self.definition = definition
    }

    /// The name in a model description.
    public var type: String { Swift.type(of: definition).type }

    /// The names of all layers there are, sorted.
    public static let knownTypes = LayerRegistry.types.map { $0.type }.sorted()

    public static func == (left: Layer, right: Layer) -> Bool {
        left.definition.isEqual(to: right.definition)
    }
}

extension LayerDefinition {
    fileprivate func isEqual(to other: any LayerDefinition) -> Bool {
        (other as? Self) == self
    }
}

extension Layer: Codable {
    public init(from decoder: any Decoder) throws {
        guard decoder.codingPath.count <= 64 else {
            throw DeMLError(.tooLarge, "the layers are nested too deep", place: place(of: decoder.codingPath))
        }
        let name = try StrictContainer(decoder, "a layer", keys: nil).required("type", String.self)
        guard let definition = LayerRegistry.type(named: name) else {
            throw Self.unknown(name, decoder)
        }
        self.init(try definition.init(StrictContainer(decoder, name, keys: ["type"] + definition.options)))
    }

    /// Options that have their default are left out, so that the text stays as short as a person writes it.
    public func encode(to encoder: any Encoder) throws {
        var options = OptionEncoder(encoder)
        try options.put("type", type)
        try definition.encode(&options)
    }

    private static func unknown(_ name: String, _ decoder: any Decoder) -> DeMLError {
        let isBatchNorm = name.lowercased().hasPrefix("batch")
        return DeMLError(
            .outOfRange, "the layer \(name.quotedForMessage) is unknown", place: place(of: decoder.codingPath),
            hint: isBatchNorm
                ? "batch_norm is for vectors, sequences and images; its statistics are averaged, group_norm has none"
                : "known layers: \(knownTypes.joined(separator: ", "))")
    }
}

/// Writes the options of a layer.
struct OptionEncoder {
    private var container: KeyedEncodingContainer<TextKey>

    init(_ encoder: any Encoder) {
        container = encoder.container(keyedBy: TextKey.self)
    }

    /// Nothing is written for nil and for what a reader takes anyway.
    mutating func put<Value: Encodable & Equatable>(
        _ key: String, _ value: Value?, unless standard: Value? = nil
    ) throws {
        if let value, value != standard { try container.encode(value, forKey: TextKey(key)) }
    }
}

/// One layer or a list of them.
struct LayerList: Decodable {
    var layers: [Layer]

    init(from decoder: any Decoder) throws {
        if var list = try? decoder.unkeyedContainer() {
            layers = []
            while !list.isAtEnd { layers.append(try list.decode(Layer.self)) }
        } else {
            layers = [try Layer(from: decoder)]
        }
    }
}
