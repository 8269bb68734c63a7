import Tensors

/// The error that `body` throws, or nil.
package func failure(of body: () throws -> Void) -> DeMLError? {
    do {
        try body()
        return nil
    } catch {
        return error as? DeMLError
    }
}
