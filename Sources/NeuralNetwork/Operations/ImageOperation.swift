/// An operation without parameters whose kernels know nothing but a shape: y of x forward, the gradient by x of that by y
/// backward.
///
/// `Shape` is the kernels' own, a C struct; its batch is set for each pass.
final class ImageOperation<Shape>: Operation {
    /// The threads, the shape, where numbers come from and where they go.
    typealias Kernel = (OpaquePointer?, UnsafePointer<Shape>, UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Void

    private let x: Activations
    private let y: Activations
    private var shape: Shape
    private let batch: WritableKeyPath<Shape, Int>
    private let kernels: (forward: Kernel, backward: Kernel)

    init(
        _ x: Activations, _ y: Activations, _ shape: Shape, batch: WritableKeyPath<Shape, Int>,
        forward: @escaping Kernel, backward: @escaping Kernel
    ) {
        self.x = x
        self.y = y
        self.shape = shape
        self.batch = batch
        kernels = (forward, backward)
    }

    func forward(_ pass: Pass) {
        shape[keyPath: batch] = pass.batch
        kernels.forward(pass.pool, &shape, x.values, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient else { return }
        shape[keyPath: batch] = pass.batch
        kernels.backward(pass.pool, &shape, dy, dx)
    }
}
