// The official tus server in front of a bucket, as its README starts it: one process, its own locker and cache (both in
// memory), parts of 8 MiB (also its default), as many of them on their way at once as it likes, no hook and no log. The
// AWS SDK keeps its connections open by itself.
import { S3Store } from "@tus/s3-store";
import { Server } from "@tus/server";

const { S3_ENDPOINT, S3_BUCKET, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, PORT } = process.env;

const datastore = new S3Store({
  partSize: 8 * 1024 * 1024,
  s3ClientConfig: {
    bucket: S3_BUCKET,
    endpoint: S3_ENDPOINT,
    forcePathStyle: true,
    region: AWS_REGION,
    credentials: { accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY },
  },
});

new Server({ path: "/files", datastore }).listen({ host: "127.0.0.1", port: Number(PORT) });
