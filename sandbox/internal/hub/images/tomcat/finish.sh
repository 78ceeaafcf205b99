# tomcat:10.1-jre17: everything in /usr/local/tomcat, no application, `catalina.sh run` in front.
home=/usr/local/tomcat
install --directory "$home" "$home/logs" "$home/temp" "$home/work" "$home/webapps" "$home/webapps.dist"
cp -RL /usr/share/tomcat10/bin "$home/bin"
cp -RL /usr/share/tomcat10/lib "$home/lib"
cp -R /usr/share/tomcat10/skel/conf "$home/conf"
chmod -R go-rwx "$home/conf"
chmod 1777 "$home/logs" "$home/temp" "$home/work"
install --directory /opt/java
ln -s /usr/lib/jvm/java-17-openjdk-amd64 /opt/java/openjdk
rm -rf /usr/share/tomcat10 /usr/lib/jvm/*/lib/src.zip
find /usr/share/java -name 'tomcat10*' -delete
JAVA_HOME=/opt/java/openjdk "$home/bin/version.sh"
