import CKernels
import Tensors

/// Cross-correlation: [in, h, w] → [out, h', w'], h' = ⌊(h + 2·padding - kernel)/stride⌋ + 1. W `[out, in, kh, kw]`,
/// b `[out]`, both drawn from U(-1/√(in·kh·kw), 1/√(in·kh·kw)).
struct Conv2d: LayerDefinition {
    static let type = "conv2d"
    static let options = [
        "out_channels", "in_channels", "kernel_size", "stride", "padding", "bias", "groups", "dilation",
    ]

    var outChannels: Int
    var kernelSize: Size2D
    var stride: Size2D = 1
    var padding: Size2D = 0
    var inChannels: Int?
    var bias = true

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try place.image()
        try place.positive("out_channels", outChannels)
        try place.match("in_channels", inChannels, place.input[0])
        let (height, width) = try place.window(kernelSize, stride, padding)
        return LayerShapes(
            output: [outChannels, height, width],
            parameters: try place.weightAndBias(
                [outChannels, place.input[0], kernelSize.height, kernelSize.width],
                fanIn: place.input[0] * kernelSize.height * kernelSize.width, bias: bias))
    }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int {
        layer.output.reduce(1, *) * layer.input[0] * kernelSize.height * kernelSize.width
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .channelsLast }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let input = try network.converted(x, to: .channelsLast)
        let weight = try network.parameter(
            layer.ownParameters[0], .conv2d(in: input.channels, out: outChannels, kernel: kernelSize))
        let bias = try bias ? network.parameter(layer.ownParameters[1]) : nil
        let y = try network.output(layer.output, .channelsLast, of: input, hasParameters: true)
        network.append(
            Conv2dOperation(input, y, self, weight: weight, bias: bias, activation: network.takeActivation()))
        return y
    }
}

extension Conv2d {
    init(_ options: StrictContainer) throws {
        try options.demand("groups", 1)
        try options.demand("dilation", 1)
        kernelSize = try options.required("kernel_size", Size2D.self)
        stride = try options.optional("stride", Size2D.self) ?? 1
        outChannels = try options.required("out_channels", Int.self)
        padding = try Self.padding(options, kernelSize, stride)
        inChannels = try options.optional("in_channels", Int.self)
        bias = try options.optional("bias", Bool.self) ?? true
    }

    /// torch's `padding`: numbers, `valid` or `same`.
    private static func padding(_ options: StrictContainer, _ kernel: Size2D, _ stride: Size2D) throws -> Size2D {
        guard let word = try? options.optional("padding", String.self) else {
            return try options.optional("padding", Size2D.self) ?? 0
        }
        switch word {
        case "valid": return 0
        case "same":
            guard stride == 1, kernel.height % 2 == 1, kernel.width % 2 == 1 else {
                throw options.error(
                    .shape, "padding 'same' needs stride 1 and an odd kernel_size, but they are \(stride) and \(kernel)"
                )
            }
            return Size2D(kernel.height / 2, kernel.width / 2)
        default:
            guard let size = Int(word) else {
                throw options.error(
                    .malformed, "padding \(word.quotedForMessage) is neither a size, 'same' nor 'valid'")
            }
            return Size2D(size, size)
        }
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("out_channels", outChannels)
        try options.put("kernel_size", kernelSize)
        try options.put("stride", stride, unless: 1)
        try options.put("padding", padding, unless: 0)
        try options.put("in_channels", inChannels)
        try options.put("bias", bias, unless: true)
    }
}

extension Layer {
    /// Cross-correlation: [in, h, w] → [out, h', w'], h' = ⌊(h + 2·padding - kernel)/stride⌋ + 1. W `[out, in, kh, kw]`,
    /// b `[out]`, both drawn from U(-1/√(in·kh·kw), 1/√(in·kh·kw)).
    public static func conv2d(
        outChannels: Int, kernelSize: Size2D, stride: Size2D = 1, padding: Size2D = 0, inChannels: Int? = nil,
        bias: Bool = true
    ) -> Layer {
        Layer(
            Conv2d(
                outChannels: outChannels, kernelSize: kernelSize, stride: stride, padding: padding,
                inChannels: inChannels, bias: bias))
    }
}

extension ParameterOrder {
    /// torch [out][in][kh][kw], here [kh][kw][in][out].
    fileprivate static func conv2d(in input: Int, out: Int, kernel: Size2D) -> ParameterOrder {
        ParameterOrder(
            load: { deml_conv2d_weights_import($0, input, out, kernel.height, kernel.width, $1, $2) },
            store: { deml_conv2d_weights_export($0, input, out, kernel.height, kernel.width, $1, $2) })
    }
}

/// y[b][oh][ow][out] = f(b[out] + Σ over (kh, kw, in) of x padded · W[kh][kw][in][out]); f: identity or relu. The kernels
/// know the gradients by x, W and b.
private final class Conv2dOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let weight: Parameter
    private let bias: Parameter?
    private let activation: deml_activation
    private var shape: deml_conv2d

    init(
        _ x: Activations, _ y: Activations, _ layer: Conv2d, weight: Parameter, bias: Parameter?,
        activation: deml_activation
    ) {
        self.x = x
        self.y = y
        self.weight = weight
        self.bias = bias
        self.activation = activation
        shape = deml_conv2d(
            batch: 0, height: x.height, width: x.width, in_channels: x.channels, out_channels: y.channels,
            kernel_height: layer.kernelSize.height, kernel_width: layer.kernelSize.width,
            stride_height: layer.stride.height, stride_width: layer.stride.width,
            padding_height: layer.padding.height, padding_width: layer.padding.width)
    }

    func forward(_ pass: Pass) {
        shape.batch = pass.batch
        deml_conv2d_forward(pass.pool, &shape, x.values, weight.values, bias?.values, activation, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient else { return }
        shape.batch = pass.batch
        if activation != DEML_IDENTITY {
            deml_activation_backward(pass.pool, activation, 0, pass.batch * y.size, nil, y.values, dy, dy)
        }
        // Before the weights change.
        if let dx = x.gradient {
            deml_conv2d_input_gradient(pass.pool, &shape, dy, weight.values, dx)
        }
        deml_conv2d_weight_gradient(pass.pool, &shape, x.values, dy, weight.sink, bias?.sink)
    }

    func scratch(_ conditions: KernelConditions) -> deml_scratch {
        shape.batch = conditions.batch
        return deml_conv2d_scratch(conditions.threads, conditions.isa, &shape, conditions.isTraining)
    }
}
