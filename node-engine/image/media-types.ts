/** Media types of manifests and layers: OCI image-spec (media-types.md) and Docker's schema 2. */
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json';
/** Schema 1, signed or not: what very old registries answer. */
export const DOCKER_SCHEMA1 = /^application\/vnd\.docker\.distribution\.manifest\.v1\+(json|prettyjws)$/;

export const INDEX_TYPES: readonly string[] = [OCI_INDEX, DOCKER_LIST];
export const MANIFEST_TYPES: readonly string[] = [OCI_MANIFEST, DOCKER_MANIFEST];

const CONFIGS: readonly string[] = [OCI_CONFIG, DOCKER_CONFIG];
/** Also "foreign" and "nondistributable" ones: they are layers like others, kept elsewhere. */
const LAYER =
  /^application\/vnd\.(oci\.image\.layer\.(nondistributable\.)?v1\.tar(\+(gzip|zstd))?|docker\.image\.rootfs\.(foreign\.)?diff\.tar(\.(gzip|zstd))?)$/;

/** A container image's config, in contrast to those of charts, signatures and other artifacts. */
export function isImageConfigType(mediaType: string): boolean {
  return CONFIGS.includes(mediaType);
}

export function isLayerType(mediaType: string): boolean {
  return LAYER.test(mediaType);
}
