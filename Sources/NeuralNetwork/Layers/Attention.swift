import CKernels
import Tensors

/// Self-attention over a sequence: [t, c] → [t, c]. q, k, v = x·W_inᵀ + b_in, for each head softmax(q·kᵀ/√(c/heads))·v, and
/// of the heads side by side ·W_outᵀ + b_out. Vaswani et al., "Attention is all you need", 2017 (arXiv 1706.03762).
///
/// Parameters `in_proj_weight` `[3c, c]`, `in_proj_bias`, `out_proj.weight` `[c, c]` and `out_proj.bias`, as torch's
/// MultiheadAttention names and draws them: U(-√(6/4c), √(6/4c)), 0, U(-1/√c, 1/√c), 0. With `naming: gpt` `c_attn.weight`,
/// `c_attn.bias`, `c_proj.weight`, `c_proj.bias`, as nanoGPT's CausalSelfAttention, drawn as those of linear layers.
struct Attention: LayerDefinition {
    static let type = "attention"
    static let options = ["num_heads", "embed_dim", "causal", "bias", "dropout", "naming"]

    enum Naming: String, Codable {
        case torch, gpt
    }

    var heads: Int
    var width: Int?
    /// Each token sees itself and those before it.
    var isCausal = false
    var bias = true
    /// Of the weights with which values are summed.
    var dropout = 0.0
    var naming = Naming.torch

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        let width = try place.sequence().features
        try place.match("embed_dim", self.width, width)
        try place.positive("num_heads", heads)
        guard width % heads == 0 else {
            throw DeMLError(.shape, "\(width) features cannot be divided among num_heads \(heads)")
        }
        try place.check(dropout: dropout, "dropout")
        guard let size = elementCount(of: [3, width, width]), size <= ModelSize.maximumParameters else {
            throw DeMLError(.tooLarge, "a weight of shape [\(3 * width), \(width)] is too large")
        }
        return LayerShapes(output: place.input, parameters: parameters(place.name, width))
    }

    private func parameters(_ name: String, _ width: Int) -> [ParameterDescription] {
        let uniform = ParameterDescription.Initialization.uniform(fanIn: width)
        let all: [(String, [Int], ParameterDescription.Initialization)] =
            switch naming {
            case .torch:
                [
                    ("in_proj_weight", [3 * width, width], .bounded(Float((6 / Double(4 * width)).squareRoot()))),
                    ("in_proj_bias", [3 * width], .constant(0)), ("out_proj.weight", [width, width], uniform),
                    ("out_proj.bias", [width], .constant(0)),
                ]
            case .gpt:
                [
                    ("c_attn.weight", [3 * width, width], uniform), ("c_attn.bias", [3 * width], uniform),
                    ("c_proj.weight", [width, width], uniform), ("c_proj.bias", [width], uniform),
                ]
            }
        return all.filter { bias || $0.1.count > 1 }
            .map { ParameterDescription(name: "\(name).\($0.0)", shape: $0.1, initialization: $0.2) }
    }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int {
        let (length, width) = (layer.input[0], layer.input[1])
        return length.multipliedSaturated(by: width).multipliedSaturated(by: 4 * width + (isCausal ? 1 : 2) * length)
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .torch }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let input = try network.converted(x, to: .torch)
        let (length, width) = (layer.input[0], layer.input[1])
        let own = layer.ownParameters
        let inWeight = try network.parameter(own[0], .linear(in: width, out: 3 * width))
        let inBias = try bias ? network.parameter(own[1]) : nil
        let outWeight = try network.parameter(own[bias ? 2 : 1], .linear(in: width, out: width))
        let outBias = try bias ? network.parameter(own[3]) : nil
        let qkv = try network.output([length, 3 * width], .torch, of: input, hasParameters: true)
        network.append(LinearOperation(input, qkv, weight: inWeight, bias: inBias, activation: DEML_IDENTITY))
        // Counted even where nothing is dropped, so that another layer's numbers do not depend on it.
        let number = network.takeRandomNumber()
        let mixed = try network.output(layer.output, .torch, of: qkv)
        network.append(
            AttentionOperation(
                qkv, mixed, self, number: number, isInference: network.purpose.isInference,
                statistics: try network.array(perExample: 2 * heads * length, for: .activations)))
        let y = try network.output(layer.output, .torch, of: mixed, hasParameters: true)
        network.append(LinearOperation(mixed, y, weight: outWeight, bias: outBias, activation: DEML_IDENTITY))
        return y
    }
}

extension Attention {
    init(_ options: StrictContainer) throws {
        heads = try options.required("num_heads", Int.self)
        width = try options.optional("embed_dim", Int.self)
        isCausal = try options.optional("causal", Bool.self) ?? false
        bias = try options.optional("bias", Bool.self) ?? true
        dropout = try options.optional("dropout", Double.self) ?? 0
        if let name = try options.optional("naming", String.self) {
            guard let naming = Naming(rawValue: name) else {
                throw options.error(
                    .outOfRange, "naming \(name.quotedForMessage) is unknown", hint: "known: torch, gpt")
            }
            self.naming = naming
        }
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("num_heads", heads)
        try options.put("embed_dim", width)
        try options.put("causal", isCausal, unless: false)
        try options.put("bias", bias, unless: true)
        try options.put("dropout", dropout, unless: 0)
        try options.put("naming", naming, unless: .torch)
    }
}

extension Layer {
    /// Self-attention over a sequence: [t, c] → [t, c], parameters named as torch's MultiheadAttention or, where `isGPT`,
    /// as nanoGPT's.
    public static func attention(
        heads: Int, isCausal: Bool = false, bias: Bool = true, dropout: Double = 0, isGPT: Bool = false
    ) -> Layer {
        Layer(
            Attention(
                heads: heads, isCausal: isCausal, bias: bias, dropout: dropout, naming: isGPT ? .gpt : .torch))
    }
}

/// y of q, k and v side by side, [t][3][heads][c/heads].
private final class AttentionOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let shape: deml_attention
    /// Which of the network's layers that draw random numbers this is.
    private let number: UInt32
    /// [heads][t][2] an example.
    private let statistics: UnsafeMutablePointer<Float>

    init(
        _ x: Activations, _ y: Activations, _ layer: Attention, number: UInt32, isInference: Bool,
        statistics: UnsafeMutablePointer<Float>
    ) {
        self.x = x
        self.y = y
        self.number = number
        self.statistics = statistics
        shape = deml_attention(
            batch: 0, tokens: y.shape[0], heads: layer.heads, width: y.shape[1] / layer.heads, causal: layer.isCausal,
            dropout: isInference ? 0 : Float(layer.dropout))
    }

    private func shape(batch: Int) -> deml_attention {
        var shape = shape
        shape.batch = batch
        return shape
    }

    private func random(_ pass: Pass) -> deml_random {
        deml_random(
            seed: pass.seed, purpose: DropoutOperation.purpose, epoch: pass.epoch, step: pass.step, layer: number)
    }

    func forward(_ pass: Pass) {
        var (shape, random) = (shape(batch: pass.batch), random(pass))
        deml_attention_forward(pass.pool, &shape, &random, x.values, y.values, statistics)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient else { return }
        var (shape, random) = (shape(batch: pass.batch), random(pass))
        deml_attention_backward(pass.pool, &shape, &random, x.values, y.values, statistics, dy, dx)
    }

    func scratch(_ conditions: KernelConditions) -> deml_scratch {
        var shape = shape(batch: conditions.batch)
        return deml_attention_scratch(conditions.threads, conditions.isa, &shape, conditions.isTraining)
    }
}
