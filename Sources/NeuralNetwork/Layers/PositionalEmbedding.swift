import CKernels
import Tensors

/// x + P: [t, c] → [t, c], P being the first t rows of a table `[max_length, c]`. Learned: a parameter drawn from N(0, 1)
/// (torch's nn.Embedding) or N(0, `init_std`²). Sinusoidal: P[p][2i] = sin(p/10000^(2i/c)), P[p][2i+1] the cosine (Vaswani
/// et al., "Attention is all you need", 2017), and no parameter.
struct PositionalEmbedding: LayerDefinition {
    static let type = "positional_embedding"
    static let options = ["kind", "max_length", "init_std"]

    enum Kind: String, Codable {
        case learned, sinusoidal
    }

    var kind = Kind.learned
    var maximumLength: Int?
    var deviation = 1.0

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        let (length, width) = try place.sequence()
        let rows = maximumLength ?? length
        try place.positive("max_length", rows)
        guard rows >= length else {
            throw DeMLError(.shape, "max_length \(rows) is less than the input's length \(length)")
        }
        try place.check(initialDeviation: deviation)
        guard kind == .learned else { return LayerShapes(output: place.input) }
        guard let size = elementCount(of: [rows, width]), size <= ModelSize.maximumParameters else {
            throw DeMLError(.tooLarge, "a weight of shape [\(rows), \(width)] is too large")
        }
        return LayerShapes(
            output: place.input,
            parameters: [
                ParameterDescription(
                    name: "\(place.name).weight", shape: [rows, width],
                    initialization: .normal(deviation: Float(deviation), zeros: nil))
            ])
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .torch }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let input = try network.converted(x, to: .torch)
        let weight = try layer.ownParameters.first.map { (description) throws(DeMLError) in
            try network.parameter(description)
        }
        // The gradient passes through one array, if there is one.
        let y =
            try input.gradient == nil
            ? network.output(layer.output, .torch, of: input, hasParameters: weight != nil)
            : network.elementwiseOutput(of: input)
        let table =
            if let weight { weight.values } else { try network.array(count: input.size, for: .parameters) }
        if weight == nil, !network.isPlan { Self.fill(table, length: layer.input[0], width: layer.input[1]) }
        network.append(PositionalOperation(input, y, weight: weight, table: table))
        return y
    }

    /// By IEEE operations alone: the same on every machine.
    private static func fill(_ table: UnsafeMutablePointer<Float>, length: Int, width: Int) {
        for pair in stride(from: 0, to: width, by: 2) {
            let frequency = PortableMath.exp(-PortableMath.log(10000) * Double(pair) / Double(width))
            for position in 0..<length {
                let angle = Double(position) * frequency
                table[position * width + pair] = Float(PortableMath.sine(angle))
                if pair + 1 < width { table[position * width + pair + 1] = Float(PortableMath.cosine(angle)) }
            }
        }
    }
}

extension PositionalEmbedding {
    init(_ options: StrictContainer) throws {
        if let name = try options.optional("kind", String.self) {
            guard let kind = Kind(rawValue: name) else {
                throw options.error(
                    .outOfRange, "kind \(name.quotedForMessage) is unknown", hint: "known: learned, sinusoidal")
            }
            self.kind = kind
        }
        maximumLength = try options.optional("max_length", Int.self)
        deviation = try options.optional("init_std", Double.self) ?? 1
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("kind", kind, unless: .learned)
        try options.put("max_length", maximumLength)
        try options.put("init_std", deviation, unless: 1)
    }
}

extension LayerPlace {
    /// The input as a sequence: its length and the features of each step.
    func sequence() throws(DeMLError) -> (length: Int, features: Int) {
        guard input.count == 2 else {
            throw DeMLError(.shape, "\(type) needs an input of shape [length, features], but it is \(input)")
        }
        return (input[0], input[1])
    }
}

extension Layer {
    /// x + P, P learned from N(0, deviation²) at the start: [t, c] → [t, c].
    public static func positionalEmbedding(maximumLength: Int? = nil, initialDeviation: Double = 1) -> Layer {
        Layer(PositionalEmbedding(maximumLength: maximumLength, deviation: initialDeviation))
    }

    /// x + P, P of sines and cosines: [t, c] → [t, c].
    public static var sinusoidalEmbedding: Layer { Layer(PositionalEmbedding(kind: .sinusoidal)) }
}

/// y[b][i] = x[b][i] + P[i]. Backward: dx = dy, dP = Σ dy over the batch.
private final class PositionalOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let weight: Parameter?
    private let table: UnsafeMutablePointer<Float>

    init(_ x: Activations, _ y: Activations, weight: Parameter?, table: UnsafeMutablePointer<Float>) {
        self.x = x
        self.y = y
        self.weight = weight
        self.table = table
    }

    func forward(_ pass: Pass) {
        deml_add_positions(pass.pool, pass.batch, x.size, x.values, table, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let weight else { return }
        deml_position_gradient(pass.pool, pass.batch, x.size, weight.count, dy, weight.sink)
    }

    func scratch(_ conditions: KernelConditions) -> deml_scratch {
        guard let weight, conditions.isTraining else { return deml_scratch() }
        return deml_position_scratch(conditions.threads, conditions.isa, weight.count)
    }
}
