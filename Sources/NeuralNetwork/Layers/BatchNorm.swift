import CKernels
import Tensors

/// (x - mean)/√(variance + ε)·γ + β over the batch, for each channel of [c], [c, l] or [c, h, w] (torch's `BatchNorm1d` and
/// `BatchNorm2d`); γ and β `[c]`, 1 and 0 at the start. Ioffe and Szegedy, "Batch normalization", 2015 (arXiv 1502.03167).
///
/// While training, the statistics are the batch's, and `running_mean` and `running_var` `[c]` go towards them:
/// running + momentum·(batch's - running), with the unbiased variance. Where nothing is trained, the running ones count.
/// They are saved, sent and averaged like parameters, but no optimiser changes them, a server's neither. torch's
/// `num_batches_tracked` says nothing here: a file may have it, and torch does without.
struct BatchNorm: LayerDefinition {
    static let type = "batch_norm"
    static let options = ["num_features", "eps", "momentum", "affine", "track_running_stats"]

    var features: Int?
    var epsilon = Self.standardEpsilon
    var momentum = Self.standardMomentum
    var affine = true
    private static let standardEpsilon = 1e-5
    private static let standardMomentum = 0.1

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        let input = place.input
        guard input.count <= 3 else {
            throw DeMLError(
                .shape, "batch_norm needs an input of shape [c], [c, length] or [c, height, width], but it is \(input)")
        }
        try place.match("num_features", features, input[0])
        try place.check(epsilon: epsilon)
        guard momentum >= 0, momentum <= 1 else {
            throw DeMLError(.outOfRange, "momentum \(momentum) is not between 0 and 1")
        }
        let buffers = [("running_mean", Float(0)), ("running_var", 1)].map {
            ParameterDescription(
                name: "\(place.name).\($0.0)", shape: [input[0]], initialization: .constant($0.1), isBuffer: true)
        }
        return LayerShapes(
            output: input, parameters: (affine ? place.scaleAndShift([input[0]], bias: true) : []) + buffers)
    }

    /// A single number has no variance.
    func leastExamples(_ layer: ResolvedLayer) -> Int { layer.input.dropFirst().reduce(1, *) == 1 ? 2 : 1 }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .channelsLast }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let input = try network.converted(x, to: .channelsLast)
        let parameters = try layer.ownParameters.map { (description) throws(DeMLError) in
            try network.parameter(description)
        }
        let y = try network.output(layer.output, .channelsLast, of: input, hasParameters: affine)
        let channels = input.channels
        network.append(
            BatchNormOperation(
                input, y, self, affine: affine ? (gamma: parameters[0], beta: parameters[1]) : nil,
                activation: network.takeActivation(), runningMean: parameters[parameters.count - 2],
                runningVariance: parameters[parameters.count - 1],
                mean: try network.array(count: channels, for: .activations),
                reciprocal: try network.array(count: channels, for: .activations),
                isInference: network.purpose.isInference))
        return y
    }
}

extension BatchNorm {
    init(_ options: StrictContainer) throws {
        try options.demand("track_running_stats", true)
        features = try options.optional("num_features", Int.self)
        epsilon = try options.optional("eps", Double.self) ?? Self.standardEpsilon
        momentum = try options.optional("momentum", Double.self) ?? Self.standardMomentum
        affine = try options.optional("affine", Bool.self) ?? true
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("num_features", features)
        try options.put("eps", epsilon, unless: Self.standardEpsilon)
        try options.put("momentum", momentum, unless: Self.standardMomentum)
        try options.put("affine", affine, unless: true)
    }
}

extension Layer {
    /// (x - mean)/√(variance + ε)·γ + β over the batch, for each channel.
    public static func batchNorm(
        features: Int? = nil, epsilon: Double = 1e-5, momentum: Double = 0.1, affine: Bool = true
    ) -> Layer {
        Layer(BatchNorm(features: features, epsilon: epsilon, momentum: momentum, affine: affine))
    }
}

/// y[r][c] = f((x[r][c] - mean[c])/√(variance[c] + ε)·γ[c] + β[c]), r counting examples, or pixels of all images; f: identity
/// or relu.
private final class BatchNormOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let epsilon: Float
    private let momentum: Float
    private let affine: (gamma: Parameter, beta: Parameter)?
    private let activation: deml_activation
    private let runningMean: Parameter
    private let runningVariance: Parameter
    /// [channels]: the batch's mean and 1/√(variance + ε).
    private let mean: UnsafeMutablePointer<Float>
    private let reciprocal: UnsafeMutablePointer<Float>
    private let isInference: Bool

    init(
        _ x: Activations, _ y: Activations, _ layer: BatchNorm, affine: (gamma: Parameter, beta: Parameter)?,
        activation: deml_activation, runningMean: Parameter, runningVariance: Parameter,
        mean: UnsafeMutablePointer<Float>, reciprocal: UnsafeMutablePointer<Float>, isInference: Bool
    ) {
        self.x = x
        self.y = y
        epsilon = Float(layer.epsilon)
        momentum = Float(layer.momentum)
        self.affine = affine
        self.activation = activation
        self.runningMean = runningMean
        self.runningVariance = runningVariance
        self.mean = mean
        self.reciprocal = reciprocal
        self.isInference = isInference
    }

    func forward(_ pass: Pass) {
        let rows = pass.batch * x.pixels
        if isInference {
            deml_batch_norm_inference(
                pass.pool, rows, x.channels, epsilon, runningMean.values, runningVariance.values, x.values,
                affine?.gamma.values, affine?.beta.values, activation, y.values)
        } else {
            deml_batch_norm_forward(
                pass.pool, rows, x.channels, epsilon, momentum, x.values, affine?.gamma.values, affine?.beta.values,
                activation, y.values, mean, reciprocal, runningMean.values, runningVariance.values)
        }
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient else { return }
        deml_batch_norm_backward(
            pass.pool, pass.batch * x.pixels, x.channels, x.values, dy, affine?.gamma.values, affine?.beta.values,
            activation, mean, reciprocal, x.gradient, affine?.gamma.sink, affine?.beta.sink)
    }

    func scratch(_ conditions: KernelConditions) -> deml_scratch {
        deml_batch_norm_scratch(
            conditions.threads, conditions.isa, conditions.batch.multipliedSaturated(by: x.pixels), x.channels,
            conditions.isTraining)
    }
}
