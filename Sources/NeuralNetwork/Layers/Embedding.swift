import CKernels
import Tensors

/// A row of W for each token: [t] ids → [t, c]. Only the first layer of a model whose input is tokens. W
/// `[num_embeddings, c]`, drawn from N(0, 1) (torch's nn.Embedding) or N(0, `init_std`²); the row of `padding_idx` begins as
/// zeros and gets no gradient here.
struct Embedding: LayerDefinition {
    static let type = "embedding"
    static let options = ["num_embeddings", "embedding_dim", "padding_idx", "init_std"]

    var width: Int
    var count: Int?
    var paddingIndex: Int?
    /// Not one of torch's options: GPTs take 0.02.
    var deviation = 1.0

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        guard let tokens = place.tokens else {
            throw DeMLError(
                .shape, "embedding takes token ids, but its input is \(place.input)",
                hint: "it is the first layer of a model with input: {shape: [length], tokens: number of tokens}")
        }
        let count = count ?? tokens
        try place.positive("embedding_dim", width)
        try place.positive("num_embeddings", count)
        guard count >= tokens else {
            throw DeMLError(.shape, "num_embeddings \(count) is less than the input's \(tokens) tokens")
        }
        guard let size = elementCount(of: [count, width]), size <= ModelSize.maximumParameters else {
            throw DeMLError(.tooLarge, "a weight of shape [\(count), \(width)] is too large")
        }
        if let paddingIndex, !(0..<count).contains(paddingIndex) {
            throw DeMLError(.outOfRange, "padding_idx \(paddingIndex) is not in 0 ..< \(count)")
        }
        try place.check(initialDeviation: deviation)
        place.setEmbedding(count: count, width: width)
        return LayerShapes(
            output: place.input + [width],
            parameters: [
                ParameterDescription(
                    name: "\(place.name).weight", shape: [count, width],
                    initialization: .normal(
                        deviation: Float(deviation), zeros: paddingIndex.map { $0 * width..<($0 + 1) * width }))
            ])
    }

    var takesTokens: Bool { true }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .torch }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let weight = try network.parameter(layer.ownParameters[0])
        let y = try network.output(layer.output, .torch, of: x, hasParameters: true)
        let shared = SharedEmbedding(weight: weight, width: width)
        network.embedding = shared
        network.append(EmbeddingOperation(x, y, shared, paddingIndex: paddingIndex ?? -1))
        return y
    }
}

extension Embedding {
    init(_ options: StrictContainer) throws {
        width = try options.required("embedding_dim", Int.self)
        count = try options.optional("num_embeddings", Int.self)
        paddingIndex = try options.optional("padding_idx", Int.self)
        deviation = try options.optional("init_std", Double.self) ?? 1
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("embedding_dim", width)
        try options.put("num_embeddings", count)
        try options.put("padding_idx", paddingIndex)
        try options.put("init_std", deviation, unless: 1)
    }
}

extension LayerPlace {
    func check(initialDeviation deviation: Double) throws(DeMLError) {
        guard deviation >= 0, deviation <= 1000 else {
            throw DeMLError(.outOfRange, "init_std \(deviation) is not between 0 and 1000")
        }
    }
}

extension Layer {
    /// A row of W for each token: [t] ids → [t, c]. W `[num_embeddings, c]`, drawn from N(0, deviation²).
    public static func embedding(
        width: Int, count: Int? = nil, paddingIndex: Int? = nil, initialDeviation: Double = 1
    ) -> Layer {
        Layer(Embedding(width: width, count: count, paddingIndex: paddingIndex, deviation: initialDeviation))
    }
}

/// The weight of the embedding, which a tied output layer has too.
final class SharedEmbedding {
    let weight: Parameter
    let width: Int
    var count: Int { weight.count / width }
    /// What the output layer adds to the weight's gradient, as torch keeps it; nil where there is none.
    var headGradient: UnsafeMutablePointer<Float>?

    init(weight: Parameter, width: Int) {
        self.weight = weight
        self.width = width
    }
}

/// y[r] = W[ids[r]]. Backward: dW[id] = what a tied output layer gives + Σ dy of the rows with that id, in their order.
private final class EmbeddingOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let shared: SharedEmbedding
    private let paddingIndex: Int

    init(_ x: Activations, _ y: Activations, _ shared: SharedEmbedding, paddingIndex: Int) {
        self.x = x
        self.y = y
        self.shared = shared
        self.paddingIndex = paddingIndex
    }

    func forward(_ pass: Pass) {
        deml_embedding_forward(
            pass.pool, pass.batch * x.size, shared.width, x.values, shared.weight.values, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient else { return }
        deml_embedding_gradient(
            pass.pool, pass.batch * x.size, shared.count, shared.width, x.values, dy, shared.headGradient, paddingIndex,
            shared.weight.sink)
    }

    func scratch(_ conditions: KernelConditions) -> deml_scratch {
        conditions.isTraining
            ? deml_embedding_scratch(conditions.threads, conditions.isa, shared.count, shared.width) : deml_scratch()
    }
}
