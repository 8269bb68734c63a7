import CKernels
import Tensors

/// Cross-correlation: [in, h, w] → [out, h', w'], h' = ⌊(h + 2·padding - dilation·(kernel - 1) - 1)/stride⌋ + 1.
/// W `[out, in/groups, kh, kw]`, b `[out]`, both drawn from U(-1/√(in/groups·kh·kw), 1/√(in/groups·kh·kw)).
struct Conv2d: LayerDefinition {
    static let type = "conv2d"
    static let options = [
        "out_channels", "in_channels", "kernel_size", "stride", "padding", "bias", "groups", "dilation", "padding_mode",
    ]

    var outChannels: Int
    var convolution: Convolution
    var inChannels: Int?
    var bias = true

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try place.image()
        let (height, width) = try convolution.window(place, outChannels: outChannels, inChannels: inChannels)
        let each = place.input[0] / convolution.groups
        let kernel = convolution.kernelSize
        return LayerShapes(
            output: [outChannels, height, width],
            parameters: try place.weightAndBias(
                [outChannels, each, kernel.height, kernel.width], fanIn: each * convolution.taps, bias: bias))
    }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int {
        layer.output.reduce(1, *) * layer.input[0] / convolution.groups * convolution.taps
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .channelsLast }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        try convolution.build(layer, x, outputs: outChannels, bias: bias, &network)
    }
}

extension Convolution {
    /// Checks the options of a convolution against its place; height and width of the output.
    func window(_ place: LayerPlace, outChannels: Int, inChannels: Int?) throws(DeMLError) -> (height: Int, width: Int)
    {
        try place.positive("out_channels", outChannels)
        try place.match("in_channels", inChannels, place.input[0])
        try checkGroups(place, inputs: place.input[0], outputs: outChannels)
        return try place.window(kernelSize, stride, padding, dilation: dilation)
    }
}

extension Conv2d {
    init(_ options: StrictContainer) throws {
        try options.demand("padding_mode", "zeros")
        func size(_ key: String) throws -> Size2D? { try options.optional(key, Size2D.self) }
        let kernel = try options.required("kernel_size", Size2D.self)
        let stride = try size("stride") ?? 1
        let dilation = try size("dilation") ?? 1
        outChannels = try options.required("out_channels", Int.self)
        convolution = Convolution(
            kernelSize: kernel, stride: stride,
            padding: try Convolution.padding(options, kernel: kernel, stride: stride, dilation: dilation, size: size),
            dilation: dilation, groups: try options.optional("groups", Int.self) ?? 1)
        inChannels = try options.optional("in_channels", Int.self)
        bias = try options.optional("bias", Bool.self) ?? true
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("out_channels", outChannels)
        try options.put("kernel_size", convolution.kernelSize)
        try options.put("stride", convolution.stride, unless: 1)
        try options.put("padding", convolution.padding, unless: 0)
        try options.put("dilation", convolution.dilation, unless: 1)
        try options.put("groups", convolution.groups, unless: 1)
        try options.put("in_channels", inChannels)
        try options.put("bias", bias, unless: true)
    }
}

extension Layer {
    /// Cross-correlation: [in, h, w] → [out, h', w'], h' = ⌊(h + 2·padding - dilation·(kernel - 1) - 1)/stride⌋ + 1.
    /// W `[out, in/groups, kh, kw]`, b `[out]`, both drawn from U(-1/√(in/groups·kh·kw), 1/√(in/groups·kh·kw)).
    public static func conv2d(
        outChannels: Int, kernelSize: Size2D, stride: Size2D = 1, padding: Size2D = 0, dilation: Size2D = 1,
        groups: Int = 1, inChannels: Int? = nil, bias: Bool = true
    ) -> Layer {
        Layer(
            Conv2d(
                outChannels: outChannels,
                convolution: Convolution(
                    kernelSize: kernelSize, stride: stride, padding: padding, dilation: dilation, groups: groups),
                inChannels: inChannels, bias: bias))
    }
}
