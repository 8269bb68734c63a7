import CKernels
import Tensors

/// The gradient of a convolution by its input, as a layer: [in, h, w] → [out, h', w'],
/// h' = (h - 1)·stride - 2·padding + dilation·(kernel - 1) + output_padding + 1. W `[in, out/groups, kh, kw]`, b `[out]`,
/// both drawn from U(-1/√(out/groups·kh·kw), 1/√(out/groups·kh·kw)) as torch does. Zeiler, Krishnan, Taylor, Fergus,
/// "Deconvolutional networks", 2010.
struct ConvTranspose2d: LayerDefinition {
    static let type = "conv_transpose2d"
    static let options = [
        "out_channels", "in_channels", "kernel_size", "stride", "padding", "output_padding", "bias", "groups",
        "dilation", "padding_mode",
    ]

    var outChannels: Int
    /// Whose gradient it is.
    var convolution: Convolution
    var outputPadding: Size2D = 0
    var inChannels: Int?
    var bias = true

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try place.image()
        try place.positive("out_channels", outChannels)
        try place.match("in_channels", inChannels, place.input[0])
        try convolution.checkGroups(place, inputs: place.input[0], outputs: outChannels)
        let kernel = convolution.kernelSize
        let output = [
            outChannels,
            try size(place.input[1], "height", \.height),
            try size(place.input[2], "width", \.width),
        ]
        let each = outChannels / convolution.groups
        return LayerShapes(
            output: output,
            parameters: try place.weightAndBias(
                [place.input[0], each, kernel.height, kernel.width], fanIn: each * convolution.taps, bias: bias,
                outputs: outChannels))
    }

    /// One side of the output.
    private func size(_ input: Int, _ side: String, _ at: (Size2D) -> Int) throws(DeMLError) -> Int {
        let (kernel, stride, padding) = (at(convolution.kernelSize), at(convolution.stride), at(convolution.padding))
        let (dilation, more) = (at(convolution.dilation), at(outputPadding))
        for (key, value, least) in [
            ("kernel_size", kernel, 1), ("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1),
            ("output_padding", more, 0),
        ] {
            guard (least..<1 << 16).contains(value) else {
                throw DeMLError(.outOfRange, "\(key) \(value) is out of range")
            }
        }
        guard more < stride else {
            throw DeMLError(.outOfRange, "output_padding \(more) is not smaller than the stride \(stride)")
        }
        let size = (input - 1) * stride - 2 * padding + dilation * (kernel - 1) + more + 1
        guard size > 0 else {
            throw DeMLError(.shape, "nothing is left of the \(side): \(size) with padding \(padding)")
        }
        return size
    }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int {
        layer.input.reduce(1, *) * outChannels / convolution.groups * convolution.taps
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .channelsLast }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let input = try network.converted(x, to: .channelsLast)
        let weight = try network.parameter(
            layer.ownParameters[0],
            .convolution(in: outChannels / convolution.groups, out: input.channels, kernel: convolution.kernelSize))
        let bias = try bias ? network.parameter(layer.ownParameters[1]) : nil
        let y = try network.output(layer.output, .channelsLast, of: input, hasParameters: true)
        network.append(
            ConvTranspose2dOperation(
                ConvolutionOperands(
                    x: input, y: y, weight: weight, bias: bias, activation: network.takeActivation()),
                convolution))
        return y
    }
}

extension ConvTranspose2d {
    init(_ options: StrictContainer) throws {
        try options.demand("padding_mode", "zeros")
        outChannels = try options.required("out_channels", Int.self)
        convolution = Convolution(
            kernelSize: try options.required("kernel_size", Size2D.self),
            stride: try options.optional("stride", Size2D.self) ?? 1,
            padding: try options.optional("padding", Size2D.self) ?? 0,
            dilation: try options.optional("dilation", Size2D.self) ?? 1,
            groups: try options.optional("groups", Int.self) ?? 1)
        outputPadding = try options.optional("output_padding", Size2D.self) ?? 0
        inChannels = try options.optional("in_channels", Int.self)
        bias = try options.optional("bias", Bool.self) ?? true
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("out_channels", outChannels)
        try options.put("kernel_size", convolution.kernelSize)
        try options.put("stride", convolution.stride, unless: 1)
        try options.put("padding", convolution.padding, unless: 0)
        try options.put("output_padding", outputPadding, unless: 0)
        try options.put("dilation", convolution.dilation, unless: 1)
        try options.put("groups", convolution.groups, unless: 1)
        try options.put("in_channels", inChannels)
        try options.put("bias", bias, unless: true)
    }
}

extension Layer {
    /// The gradient of a convolution by its input, as a layer: [in, h, w] → [out, h', w'],
    /// h' = (h - 1)·stride - 2·padding + dilation·(kernel - 1) + outputPadding + 1.
    public static func convTranspose2d(
        outChannels: Int, kernelSize: Size2D, stride: Size2D = 1, padding: Size2D = 0, outputPadding: Size2D = 0,
        dilation: Size2D = 1, groups: Int = 1, inChannels: Int? = nil, bias: Bool = true
    ) -> Layer {
        Layer(
            ConvTranspose2d(
                outChannels: outChannels,
                convolution: Convolution(
                    kernelSize: kernelSize, stride: stride, padding: padding, dilation: dilation, groups: groups),
                outputPadding: outputPadding, inChannels: inChannels, bias: bias))
    }
}

/// y = f(b + the gradient by the input of a convolution from y's shape to x's, whose output's gradient is x). Its own
/// gradients are that convolution forward (by x) and its weights' gradient with the roles of x and dy exchanged.
private final class ConvTranspose2dOperation: Operation {
    private let operands: ConvolutionOperands
    private var shape: deml_conv2d

    init(_ operands: ConvolutionOperands, _ convolution: Convolution) {
        self.operands = operands
        shape = convolution.kernel(from: operands.y, to: operands.x)
    }

    func forward(_ pass: Pass) {
        shape.batch = pass.batch
        deml_conv2d_transposed_forward(
            pass.pool, &shape, operands.x.values, operands.weight.values, operands.bias?.values, operands.activation,
            operands.y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = operands.y.gradient else { return }
        shape.batch = pass.batch
        operands.undoActivation(dy, pass)
        // Before the weights change.
        if let dx = operands.x.gradient {
            deml_conv2d_forward(pass.pool, &shape, dy, operands.weight.values, nil, DEML_IDENTITY, dx)
        }
        deml_conv2d_weight_gradient(pass.pool, &shape, dy, operands.x.values, operands.weight.sink, nil)
        if let bias = operands.bias {
            deml_bias_gradient_of(pass.pool, pass.batch * operands.y.pixels, operands.y.channels, dy, bias.sink)
        }
    }

    /// Forward it needs what a convolution needs in training.
    func scratch(_ conditions: KernelConditions) -> deml_scratch {
        shape.batch = conditions.batch
        return deml_conv2d_scratch(conditions.threads, conditions.isa, &shape, true)
    }
}
